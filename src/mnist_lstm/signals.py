"""What ends a run early: Ctrl-C, ``kill``, a terminal that closes, the death of DVC.

A signal that is ignored when the run starts (``nohup``, a background job) stays ignored.
"""

import os
import signal
import sys

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PARENT = os.getppid()
_SAID = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Stopped(Exception):  # noqa: N818 - no error: it was asked for
    """A run that ended where it was asked to; ``status`` is what a shell expects of it."""

    def __init__(self, signum: int, where: str):
        super().__init__(f"{_SAID.get(signum, 'hung up')}; {where}")
        self.status = 128 + signum


def end_in_one_line() -> None:
    """From now on, end at a signal with one line and the status that a shell expects."""
    _handle(dict.fromkeys(_ENDING, _end))


def ignore() -> None:
    """From now on, no signal ends the run: what it had to do is done."""
    _handle(dict.fromkeys(_ENDING, signal.SIG_IGN))


class Request:
    """A context in which a signal only asks to end: whoever is at work looks at ``signum``.

    So training ends between two steps, when all of its state belongs together.
    """

    def __init__(self):
        self.asked: int | None = None

    def __enter__(self) -> "Request":
        self.before = {signum: signal.getsignal(signum) for signum in _ENDING}
        _handle(dict.fromkeys(_ENDING, self._ask))
        return self

    def __exit__(self, *_) -> None:
        _handle(self.before)

    @property
    def signum(self) -> int | None:
        """The signal that asked to end; None while nobody did."""
        if "DVC_STAGE" in os.environ and os.getppid() != _PARENT:
            return signal.SIGTERM  # DVC is gone; no one would record what training made
        return self.asked

    def _ask(self, signum: int, _frame: object) -> None:
        self.asked = signum


def _handle(handlers: dict[int, signal.Handlers]) -> None:
    for signum, handler in handlers.items():
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, handler)


def _end(signum: int, _frame: object) -> None:
    ignore()  # another would cut short the tidying up
    # Not print: the signal may have come in the middle of one.
    os.write(sys.stderr.fileno(), f"{_SAID.get(signum, 'hung up')}\n".encode())
    raise SystemExit(128 + signum)  # `finally` removes what is half-written
