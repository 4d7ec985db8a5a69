"""What a person can put right: said in one line, by what was found, where, what to do."""

from typing import Self


class UserError(Exception):
    """Bad input: says what was found, where, and what to do.

    Each argument is a line, whatever a file or a server put into it: it cannot forge
    another, nor move the cursor.
    """

    def __str__(self) -> str:
        return "\n".join(printable(line) for line in self.args)


class ParamsError(UserError):
    """``params.yaml`` is missing, is not YAML, or holds a value that does not fit."""

    @classmethod
    def of(cls, key: str, allowed: str, got: object) -> Self:
        """``key`` holds ``got``, which is not ``allowed``."""
        return cls(f"params.yaml: {key} must be {allowed}, got {got!r}")


class TensorFileError(UserError):
    """A file of tensors that is missing or damaged."""


class PictureError(UserError):
    """A picture that cannot be read. The message leaves its name to the caller."""


class SequenceError(UserError):
    """A sequence that cannot be read. The message leaves its name to the caller."""


class WorkersError(UserError):
    """Another of the processes that train together is gone, or does not answer."""


def one_line(reason: object, length: int = 1000) -> str:
    """Return what another program said as one line."""
    return printable(" ".join(str(reason).split()), length)


def printable(text: object, length: int = 1000) -> str:
    """Return ``text`` as one line that a terminal shows as it is, cut to ``length``."""
    start = str(text)[: length + 1]
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in start)
    return line if len(line) <= length else line[: length - 3] + "..."
