"""Files that appear whole or not at all: written beside their place, then renamed."""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lstm.errors import UserError

if TYPE_CHECKING:  # half a second, and only some stages write tables
    import pandas as pd

# Six decimals tell apart any two accuracies here (1 in 70,000 is 1.4e-5), and keep a
# rounding difference in the last bit of a float out of the metrics.
_DECIMALS = 6
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class BusyError(UserError):
    """Another process writes in the same folder."""


class WriteError(UserError):
    """A file that the system would not write: a full disk, say; the message names it."""


class TableError(UserError):
    """A table that is missing or damaged; the message names the file."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from writing in ``folder``; it is made where it is missing.

    DVC sees to that as well, but for a stage that outlived a DVC that was killed.

    Raises:
        BusyError: another process holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise BusyError(
            f"{folder}/: another process writes there; wait for its end, or end it, then "
            "run it again"
        ) from None
    try:
        yield
    finally:
        os.close(held)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write a file to; rename it there on success."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path`` to fill; rename it there on success.

    Raises:
        BusyError: another process does the same.
    """
    path = Path(path)
    with alone_in(path.parent):
        beside = _beside(path)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        try:
            yield beside
            shutil.rmtree(path, ignore_errors=True)
            beside.replace(path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``.

    Raises:
        WriteError: for an ``OSError``; a full disk itself names no file.
    """
    with replacing(path) as beside:
        try:
            beside.write_bytes(data)
        except OSError as error:
            advice = "; make room, then run it again" if error.errno in _NO_ROOM else ""
            raise WriteError(f"{path}: cannot write: {error.strerror}{advice}") from None


def write_json(path: Path, value: dict) -> None:
    """Write ``value`` as indented JSON, its floats to six decimals."""
    text = json.dumps(_rounded(value), indent=2) + "\n"
    write_bytes(path, text.encode())


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write ``table`` without its index, floats to six decimals, lines ending in LF."""
    text = table.round(_DECIMALS).to_csv(index=False, lineterminator="\n")
    write_bytes(path, text.encode())


def read_csv(path: Path, columns: list[str], writer: str) -> "pd.DataFrame":
    """Read the table at ``path``, which must have numbers or names in ``columns``.

    Raises:
        TableError: no such file, or no such table; names the stage that writes it.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise TableError(f"{path}: no such file; the stage `{writer}` writes it") from None
    except ValueError as error:  # pandas' own errors among them
        reason = " ".join(str(error).split())
        raise TableError(f"{path}: no table: {reason}; see stage `{writer}`") from None
    if (
        table.empty
        or not set(columns) <= set(table)
        or table[columns].isna().any(axis=None)
    ):
        raise TableError(
            f"{path}: no whole table with {', '.join(columns)}; found {len(table)} rows of "
            f"{', '.join(map(str, table))}; the stage `{writer}` writes it"
        )
    return table


def _beside(path: Path) -> Path:
    # Always the same name: what a killed run leaves, the next run replaces.
    return path.with_name(f".{path.name}.part")


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, _DECIMALS) if isinstance(value, float) else value
