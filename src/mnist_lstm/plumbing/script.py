"""How a script starts and ends: bad input in one line, Ctrl-C and `kill` in one line.

A signal that is ignored when the run starts (``nohup``, a background job) stays ignored.
"""

import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from mnist_lstm.plumbing import inputs
from mnist_lstm.plumbing.environment import STORE, is_in_torchrun
from mnist_lstm.plumbing.errors import (
    ClosedError,
    MemoryExhaustedError,
    RefusedError,
    UserError,
)
from mnist_lstm.plumbing.files import alone_in

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PARENT = os.getppid()
# torchrun and our launcher number the processes that they start: the first speaks for all.
_IN_TORCHRUN = is_in_torchrun()
IS_WORKER = _IN_TORCHRUN or STORE in os.environ
_FIRST = not IS_WORKER or int(os.environ["RANK"]) == 0
_SAID = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
# PyTorch has a type for CUDA's own allocator only; these stand in the other messages.
_NO_MEMORY = ("out of memory", "can't allocate memory", "_STATUS_ALLOC_FAILED")

Handler = Callable[[int, FrameType | None], object] | int | None


class Stopped(Exception):  # noqa: N818 - no error: it was asked for
    """A run that ended where it was asked to; ``status`` is what a shell expects of it."""

    def __init__(self, signum: int, where: str):
        super().__init__(f"{said(signum)}; {where}")
        self.status = 128 + signum


def run(
    main: Callable[[], None],
    lower: Sequence[str] = (),
    alone: bool = True,
    prints: bool = False,
) -> None:
    """Run a script's ``main``; turn bad input into one line and exit status 1.

    What the system refuses (a full disk, a missing permission, standard output that is
    closed) is told the same way. Where a signal ended it, the status is what a shell
    expects: 130 after Ctrl-C. One process at a time runs a script of a clone.

    Args:
        main: what to run.
        lower: the parameters to lower where memory does not suffice.
        alone: False for a script that several processes may run at a time.
        prints: what it prints is what it is for, so standard output must not be closed.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may not know all letters
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _alone() if alone and _FIRST else nullcontext():
            _refuse_orphans()
            if prints and sys.stdout is None:
                raise ClosedError.output()
            main()
            inputs.refuse_changes()
            if sys.stdout:
                sys.stdout.flush()
            _ignore()  # or DVC would discard what is written
    except UserError as error:
        _end_bars(error)
        sys.exit(f"error: {error}" if _FIRST else 1)
    except OSError as error:
        _end_bars(error)
        _drop_output()
        sys.exit(f"error: {RefusedError.of(error)}")
    except Stopped as stopped:
        _ignore()  # the launcher may send the signal of a terminal once more
        _end_bars(stopped)
        if _FIRST:
            print(stopped, file=sys.stderr)
        sys.exit(stopped.status)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _end_bars(error)
        device = "CUDA is " if "CU" in str(error) else ""
        sys.exit(f"error: {MemoryExhaustedError.of(device, _values(lower))}")


def begin() -> None:
    """Begin a stage, before it imports what takes seconds: PyTorch, and its own modules.

    From now on it ends at a signal in one line, and what it reads must stay as it is.
    """
    end_in_one_line()
    try:
        if _FIRST:
            inputs.remember()
    except UserError as error:
        sys.exit(f"error: {error}")


def end_in_one_line() -> None:
    """From now on, end at a signal with one line and the status that a shell expects."""
    _handle(dict.fromkeys(_ENDING, _end))


class Request:
    """A context in which a signal only asks to end: whoever is at work looks at ``signum``.

    So training ends between two steps, when all of its state belongs together.
    """

    def __init__(self) -> None:
        self.asked: int | None = None

    def __enter__(self) -> "Request":
        self.before = {signum: signal.getsignal(signum) for signum in _ENDING}
        _handle(dict.fromkeys(_ENDING, self._ask))
        return self

    def __exit__(self, *_: object) -> None:
        _handle(self.before)

    @property
    def signum(self) -> int | None:
        """The signal that asked to end; None while nobody did."""
        return signal.SIGTERM if _is_orphan() else self.asked

    def _ask(self, signum: int, _frame: object) -> None:
        self.asked = signum


@contextmanager
def ending_at_once() -> Iterator[None]:
    """A context in which a signal ends the process: a wait in C++ would not hear it."""
    before = {signum: signal.getsignal(signum) for signum in _ENDING}
    _handle(dict.fromkeys(_ENDING, signal.SIG_DFL))
    try:
        yield
    finally:
        _handle(before)


def _alone() -> AbstractContextManager[None]:
    """Keep a second process from running the same script of the same clone."""
    script = Path(sys.argv[0])
    return alone_in(script) if script.is_file() else nullcontext()


def _is_orphan() -> bool:
    """Say whether DVC, which started this, is gone: no one would record what it makes.

    DVC leaves a stage in its own process group, and so does our launcher a worker; who
    takes over an orphan is in another. A worker's parent may be torchrun.
    """
    parent = os.getppid()
    if _IN_TORCHRUN:
        return parent != _PARENT
    if "DVC_STAGE" not in os.environ and not IS_WORKER:
        return False
    try:
        return parent != _PARENT or os.getpgid(parent) != os.getpgrp()
    except OSError:  # gone, or not ours to ask about
        return True


def _refuse_orphans() -> None:
    if _is_orphan():
        raise Stopped(signal.SIGTERM, "DVC, which started this, is gone")


def _drop_output() -> None:
    """Send what standard output would not take nowhere, or Python would try it again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _ignore() -> None:
    """From now on, no signal ends the run: what it had to do is done."""
    _handle(dict.fromkeys(_ENDING, signal.SIG_IGN))


def _handle(handlers: dict[signal.Signals, Handler]) -> None:
    for signum, handler in handlers.items():
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, handler)


def _end(signum: int, _frame: object) -> None:
    _ignore()  # another would cut short the tidying up
    # Not print: the signal may have come in the middle of one.
    if _FIRST:
        os.write(sys.stderr.fileno(), f"{said(signum)}\n".encode())
    raise SystemExit(128 + signum)  # `finally` removes what is half-written


def said(signum: int) -> str:
    """Return how ``signum`` ended a run, in words."""
    return _SAID.get(signal.Signals(signum), "hung up")


def _end_bars(error: Exception) -> None:
    """Close the bars that still stand in the frames of ``error``, before its line."""
    traceback.clear_frames(error.__traceback__)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(
        words in str(error) for words in _NO_MEMORY
    )


def _values(keys: Sequence[str]) -> dict[str, object]:
    """Return the values of ``keys`` in params.yaml; none if it was spoilt meanwhile."""
    # Not above: it takes a moment, in which Ctrl-C would print a traceback.
    from mnist_lstm.plumbing.params import load_params

    try:
        values = load_params().model_dump() if keys else {}
    except UserError:
        return {}
    pairs = {key: key.split(".") for key in keys}
    return {key: values[section][leaf] for key, (section, leaf) in pairs.items()}
