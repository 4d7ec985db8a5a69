"""Start the workers of a training on this host, watch over them, and end as they do."""

import functools
import os
import signal
import subprocess
import sys
import tempfile
import time

from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.environment import IS_WORKER, STORE, number_from
from mnist_lstm.plumbing.errors import UserError

_GRACE = 5  # seconds to save in; then who hears nothing is sent the next signal


def count_workers() -> int:
    """Return how many processes to start: ``TRAIN_WORKERS``; 0 where this is one."""
    try:
        asked = number_from("TRAIN_WORKERS", default=1, most=1024)
    except UserError as error:
        sys.exit(f"error: {error}")
    return 0 if asked == 1 or IS_WORKER else asked


def launch(count: int) -> None:
    """Run this script in ``count`` processes and exit as they do: they say why.

    Not by torchrun's launcher: it hands out the host's own name, which may resolve nowhere,
    and hears no signal while it waits.
    """
    script.run(functools.partial(_train, count), alone=False)
    sys.exit()


def _train(count: int) -> None:
    workers: list[subprocess.Popen] = []
    with script.Request() as request, tempfile.TemporaryDirectory() as folder:
        try:
            for rank in range(count):
                workers.append(_start(rank, count, folder))
            while _left(workers) and not (request.signum or _failed(workers)):
                time.sleep(0.1)
        finally:
            failed, stopped = _failed(workers), request.signum
            killed = {rank: status for rank, status in failed.items() if status < 0}
            # Where one has failed by itself, the others do as well, or find out.
            _end(workers, stopped or (signal.SIGTERM if killed else 0))
    if stopped and _failed(workers):
        if workers[0].returncode < 0:  # the first has said nothing
            print(script.said(stopped), file=sys.stderr)
        sys.exit(128 + stopped)
    for rank, status in killed.items():
        sys.exit(f"error: worker {rank} was ended by {signal.Signals(-status).name}")
    sys.exit(max(failed.values(), default=0))


def _start(rank: int, count: int, folder: str) -> subprocess.Popen:
    """Start a worker; all meet in a file, and talk by the loopback."""
    own = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        STORE: f"{folder}/store",
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
    }
    env = {"OMP_NUM_THREADS": "1"} | os.environ | own
    return subprocess.Popen([sys.executable, *sys.argv], env=env)


def _end(workers: list[subprocess.Popen], signum: int) -> None:
    """Have the workers that are left end, those that hear nothing by SIGKILL."""
    for each in (signum, signal.SIGTERM, signal.SIGKILL):
        for worker in workers:
            worker.send_signal(each)
        end = time.monotonic() + _GRACE
        while _left(workers) and time.monotonic() < end:
            time.sleep(0.1)


def _left(workers: list[subprocess.Popen]) -> list[subprocess.Popen]:
    """Return those that have not ended."""
    return [worker for worker in workers if worker.poll() is None]


def _failed(workers: list[subprocess.Popen]) -> dict[int, int]:
    """Return the status of those that have ended with another than 0, by rank."""
    return {rank: w.returncode for rank, w in enumerate(workers) if w.returncode}
