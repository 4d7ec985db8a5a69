"""How a script starts and ends: bad input in one line, Ctrl-C and `kill` in one line.

A signal that is ignored when the run starts (``nohup``, a background job) stays ignored.
"""

import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from mnist_lstm.plumbing import inputs
from mnist_lstm.plumbing.environment import IN_TORCHRUN, IS_WORKER
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.files import alone_in

_ENDING = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "hung up",
}
_PARENT = os.getppid()
_FIRST = not IS_WORKER or os.environ["RANK"] == "0"  # it speaks for all workers
# PyTorch has a type for CUDA's own allocator only; these stand in the other messages.
_NO_MEMORY = ("out of memory", "can't allocate memory", "_STATUS_ALLOC_FAILED")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Handler = Callable[[int, FrameType | None], object] | int | None


class Stopped(Exception):  # noqa: N818 - no error: it was asked for
    """A run that ended where it was asked to; ``status`` is what a shell expects of it."""

    def __init__(self, signum: int, where: str):
        super().__init__(f"{said(signum)}; {where}")
        self.status = 128 + signum


def run(main: Callable[[], None], lower: Sequence[str] = (), alone: bool = True) -> None:
    """Run a script's ``main``; turn bad input into one line and exit status 1.

    So is what the system refuses: a full disk, a missing permission, memory (then, lower
    the parameters ``lower``). Where a signal ended it, the status is what a shell expects:
    130 after Ctrl-C. Where ``alone``, one process of a clone at a time runs the script.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may not know all letters
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        file = Path(sys.argv[0])
        with alone_in(file) if alone and _FIRST and file.is_file() else nullcontext():
            if _is_orphan():
                raise Stopped(signal.SIGTERM, "DVC, which started this, is gone")
            main()
            inputs.refuse_changes()
            sys.stdout.flush()
            _handle(signal.SIG_IGN)  # or DVC would discard what is written
    except (UserError, OSError, MemoryError, RuntimeError, Stopped) as error:
        line = _line(error, lower)
        if not line:
            raise
        traceback.clear_frames(error.__traceback__)  # ends the bars that stand in them
        if isinstance(error, Stopped):
            _handle(signal.SIG_IGN)  # the launcher may send a terminal's signal once more
        if _FIRST or not isinstance(error, UserError | Stopped):
            print(line, file=sys.stderr)
        sys.exit(error.status if isinstance(error, Stopped) else 1)


def begin() -> None:
    """Begin a stage, before it imports what takes seconds: PyTorch, and its own modules.

    From now on it ends at a signal in one line, and what it reads must stay as it is.
    """
    end_in_one_line()
    try:
        if _FIRST:
            inputs.remember()
    except (UserError, OSError) as error:
        sys.exit(_line(error))


def end_in_one_line() -> None:
    """From now on, end at a signal with one line and the status that a shell expects."""
    _handle(_end)


class Request:
    """A context in which a signal only asks to end: whoever is at work looks at ``signum``.

    So training ends between two steps, when all of its state belongs together.
    """

    def __init__(self) -> None:
        self.asked: int | None = None

    def __enter__(self) -> "Request":
        self.before = _handle(self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        _restore(self.before)

    @property
    def signum(self) -> int | None:
        """The signal that asked to end; None while nobody did."""
        return signal.SIGTERM if _is_orphan() else self.asked

    def _ask(self, signum: int, _frame: object) -> None:
        self.asked = signum


@contextmanager
def ending_at_once() -> Iterator[None]:
    """A context in which a signal ends the process: a wait in C++ would not hear it."""
    before = _handle(signal.SIG_DFL)
    try:
        yield
    finally:
        _restore(before)


def _is_orphan() -> bool:
    """Say whether DVC, which started this, is gone: no one would record what it makes.

    It may have died before ``_PARENT`` was asked for. DVC leaves a stage in its own process
    group, and so does our launcher a worker; who takes over an orphan is in another.
    """
    if "DVC_STAGE" not in os.environ and not IS_WORKER:
        return False
    parent = os.getppid()
    try:
        adopted = not IN_TORCHRUN and os.getpgid(parent) != os.getpgrp()
    except OSError:  # gone, or not ours to ask about
        adopted = True
    return adopted or parent != _PARENT


def _handle(handler: Handler) -> dict[signal.Signals, Handler]:
    """From now on, ``handler`` takes the signals; return who took them before."""
    before = {signum: signal.getsignal(signum) for signum in _ENDING}
    _restore({s: handler for s, old in before.items() if old is not signal.SIG_IGN})
    return before


def _restore(handlers: Mapping[signal.Signals, Handler]) -> None:
    for signum, handler in handlers.items():
        signal.signal(signum, handler)


def _end(signum: int, _frame: object) -> None:
    _handle(signal.SIG_IGN)  # another would cut short the tidying up
    # Not print: the signal may have come in the middle of one.
    if _FIRST:
        os.write(sys.stderr.fileno(), f"{said(signum)}\n".encode())
    raise SystemExit(128 + signum)  # `finally` removes what is half-written


def said(signum: int) -> str:
    """Return how ``signum`` ended a run, in words."""
    return _ENDING[signal.Signals(signum)]


def _line(error: Exception, lower: Sequence[str] = ()) -> str:
    """Return what a person reads of ``error``; nothing of one that is a bug."""
    if isinstance(error, Stopped):
        return str(error)
    if isinstance(error, UserError):
        return f"error: {error}"
    if isinstance(error, OSError):
        try:
            sys.stdout.flush()
        except OSError:  # what it would not take goes nowhere, or Python tries it again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        where = error.filename2 or error.filename  # none of standard output
        reason = f"{where}: {error.strerror}" if where else error.strerror or error
        advice = "; make room, then run this again" if error.errno in _NO_ROOM else ""
        return f"error: {reason}{advice}"
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        device = "CUDA is " if "CU" in str(error) else ""
        advice = f"; lower {' or '.join(lower)} in params.yaml" if lower else ""
        return f"error: {device}out of memory{advice}"
    return ""
