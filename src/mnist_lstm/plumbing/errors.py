"""What a person can put right, and every sentence that says so.

The sentences stand here and not where they are raised, so that a better word reruns no
stage. Each says in one line what was found, where, and what to do.
"""

from collections.abc import Sequence
from pathlib import Path
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


class ImageFolderError(UserError):
    """Own images that cannot be trained on: what is wrong, a line each."""

    @classmethod
    def all(cls, problems: Sequence[Self], most: int = 20) -> Self:
        """Several ``problems`` at once, at ``most`` so many in full."""
        lines = [str(problem) for problem in problems[:most]]
        if len(problems) > most:
            lines.append(f"and {len(problems) - most:,} more")
        return cls(*lines)

    @classmethod
    def not_utf8(cls, path: Path) -> Self:
        """A name that DVC does not read; its own error says not which."""
        return cls(
            f"{path}: DVC reads names in UTF-8 alone; rename it (or all, as "
            "`convmv -r -f cp437 -t utf8 own` shows, if the ZIP is from Windows)"
        )


class TensorFileError(UserError):
    """A file of tensors that is missing or damaged."""


class PictureError(UserError):
    """A picture that cannot be classified. The message leaves its name to the caller."""

    @classmethod
    def missing(cls) -> Self:
        """No such file."""
        return cls("no such file")

    @classmethod
    def folder(cls) -> Self:
        """A folder."""
        return cls("a folder; name the pictures in it")

    @classmethod
    def unreadable(cls, reason: object) -> Self:
        """The file cannot be read."""
        return cls(f"cannot read it: {one_line(reason)}")

    @classmethod
    @classmethod
    def too_long(cls, most: int) -> Self:
        """More bytes than any picture of the size allowed needs."""
        return cls(f"more than {most // 2**20} MB, which no picture is")


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
