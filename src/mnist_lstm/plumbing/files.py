"""Files that appear whole or not at all, and are read only where they end."""

import errno
import fcntl
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_lstm.plumbing.errors import BusyError, RefusedError, UnfitFileError


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
    """Give a path beside ``path`` to write a file to; rename it there on success.

    Raises:
        RefusedError: ``path`` is a device, a pipe or a socket: it would be gone.
    """
    path = Path(path)
    if path.is_dir():  # before the name beside it: / has no name
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise RefusedError.irregular(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    remove(beside)
    try:
        yield beside
        beside.replace(path)
    finally:
        remove(beside)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path`` to fill; rename it there on success.

    Raises:
        BusyError: another process does the same.
        RefusedError: ``path`` is a link: DVC would not look behind it.
    """
    path = Path(path)
    if path.is_symlink():
        raise RefusedError.link(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone_in(path.parent):
        beside = _beside(path)
        remove(beside)
        beside.mkdir()
        try:
            yield beside
            if path.is_dir():
                remove(path)
            beside.replace(path)
        finally:
            remove(beside)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``.

    Raises:
        RefusedError: for an ``OSError``, where a full disk itself names no file; or as
            :func:`replacing` does.
    """
    try:
        with replacing(path) as beside:
            beside.write_bytes(data)
    except OSError as error:
        # not the name beside it, which no one knows
        other = error.filename not in (None, str(_beside(path)))
        raise RefusedError.of(error, error.filename if other else path) from None


def read_regular(path: Path, most: int) -> bytes:
    """Return what is in ``path``, a file of at most so many bytes.

    A pipe in its place would make this wait, and a device or a huge file fill the memory.

    Raises:
        OSError: no such file, none that is regular, or a larger one.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UnfitFileError.irregular(path)
        if status.st_size > most:
            raise UnfitFileError.too_big(path, status.st_size, most)
        try:
            return file.read(status.st_size)  # no more, should it grow
        except MemoryError:
            raise UnfitFileError.no_memory(path, status.st_size) from None


def misspelt(folder: Path) -> list[Path]:
    """Return what lies in ``folder`` under a name that is not UTF-8."""
    below = sorted(folder.rglob("*"))
    return [p for p in below if p.name.encode(errors="ignore").decode() != p.name]


def _open_at_once(path: str, flags: int) -> int:
    # Or, to open a pipe, this would wait until someone writes.
    return os.open(path, flags | os.O_NONBLOCK)


def remove(path: Path) -> None:
    """Remove ``path``, if it is there: a file, a link, or a folder with all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    # Always the same name: what a killed run leaves, the next run replaces.
    return path.parent / f".{path.name}.part"
