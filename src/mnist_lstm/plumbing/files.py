"""Files that appear whole or not at all: written beside their place, then renamed."""

import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_lstm.plumbing.errors import BusyError, WriteError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def alone_in(place: Path) -> Iterator[None]:
    """Keep other processes out of ``place``, an existing file or folder.

    DVC sees to that as well, but for a stage that outlived a DVC that was killed.

    Raises:
        BusyError: another process is in there.
    """
    held = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise BusyError.of(place) from None
    except OSError as error:  # some network file systems have no locks
        print(f"warning: {place}: no lock: {error.strerror}", file=sys.stderr)
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
    path.parent.mkdir(parents=True, exist_ok=True)
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
            raise WriteError.of(path, error.strerror, error.errno in _NO_ROOM) from None


def _beside(path: Path) -> Path:
    # Always the same name: what a killed run leaves, the next run replaces.
    return path.with_name(f".{path.name}.part")
