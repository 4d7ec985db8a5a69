"""Variables of the environment: they hold what changes no byte of a result."""

import os

from mnist_lstm.plumbing.errors import UserError

STORE = "TRAIN_STORE"  # names the file in which the workers on one host meet
# torchrun's own; RANK alone may stand in the environment of a cluster's jobs.
IN_TORCHRUN = "TORCHELASTIC_RUN_ID" in os.environ
IS_WORKER = IN_TORCHRUN or STORE in os.environ  # whom torchrun or our launcher started


def number_from(name: str, default: int, most: int) -> int:
    """Return the number from 1 to ``most`` that the variable ``name`` holds."""
    asked = os.environ.get(name, str(default))
    if not (asked.isdecimal() and 1 <= int(asked) <= most):
        raise UserError(f"{name} must be a number from 1 to {most}, got {asked!r}")
    return int(asked)
