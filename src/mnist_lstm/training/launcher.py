"""Start the workers of a training on this host, by torchrun's own launcher."""

import ctypes
import logging
import os
import signal
import sys
import tempfile
import uuid

from mnist_lstm.plumbing.environment import number_from
from mnist_lstm.plumbing.errors import VariableError
from mnist_lstm.plumbing.script import IN_TORCHRUN

_PARENT_DIED = 1  # PR_SET_PDEATHSIG, from linux/prctl.h


def count_workers() -> int:
    """Return how many processes are to be started: ``TRAIN_WORKERS``, or none.

    None where this is one of them already.

    Raises:
        SystemExit: ``TRAIN_WORKERS`` is no number of processes.
    """
    try:
        asked = number_from("TRAIN_WORKERS", default=1, most=1024)
    except VariableError as error:
        sys.exit(f"error: {error}")
    return 0 if asked == 1 or IN_TORCHRUN else asked


def launch(count: int) -> None:
    """Run this script in ``count`` processes and exit as they do: they say why.

    Source: https://docs.pytorch.org/docs/stable/elastic/run.html
    """
    _end_with_parent()
    # Each is told on one line by the workers themselves.
    logging.disable(logging.CRITICAL)
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(logs),
        )
        try:
            elastic_launch(config, sys.executable)(*sys.argv)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode < 0:
                name = signal.Signals(-failure.exitcode).name
                sys.exit(f"error: worker {rank} was ended by {name}")
            sys.exit(failure.exitcode)
        except SignalException as stopped:
            sys.exit(128 + stopped.sigval)


def _end_with_parent() -> None:
    """Have Linux send SIGTERM when the process that started this one, DVC, dies.

    Workers save and end at it. Source: https://man7.org/linux/man-pages/man2/prctl.2.html
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGTERM)
