"""What a person can put right: told in one line, without a traceback."""

import sys
from collections.abc import Callable

from mnist_lstm import signals


class UserError(Exception):
    """Bad input: the message says what was found, where, and what to do."""


def run(main: Callable[[], None]) -> None:
    """Run a script's ``main``; turn bad input into one line and exit status 1.

    What the system refuses (a full disk, a missing permission) is told the same way.
    Where a signal ended it, the status is what a shell expects: 130 after Ctrl-C.
    """
    try:
        main()
        signals.ignore()  # or DVC would discard what is written
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
    except MemoryError:
        sys.exit("error: out of memory")
    except signals.Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.status)
