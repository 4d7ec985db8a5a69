"""Numbers in the environment: there stands what changes no byte of a result."""

import os

from mnist_lstm.plumbing.errors import VariableError

STORE = "TRAIN_STORE"  # names the file in which the workers on one host meet

# These name the process and its place; torchrun sets them all. RANK alone may stand in the
# environment of a cluster's jobs.
_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
_WORDS = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR")


def number_from(name: str, default: int, most: int) -> int:
    """Return the number from 1 to ``most`` that the variable ``name`` holds.

    Raises:
        VariableError: it holds something else.
    """
    asked = os.environ.get(name, str(default))
    if not (_is_number(asked) and 1 <= int(asked) <= most):
        raise VariableError.number(name, most, asked)
    return int(asked)


def is_in_torchrun() -> bool:
    """Say whether torchrun started this process; half of its variables are no sign."""
    words = [os.environ.get(name, "") for name in _WORDS]
    numbers = [os.environ.get(name, "") for name in _NUMBERS]
    if not (all(words) and all(map(_is_number, numbers))):
        return False
    rank, count, *_ = map(int, numbers)
    return rank < count


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 10  # of thousands of digits Python reads none
