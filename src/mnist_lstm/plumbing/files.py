"""Files and folders that appear whole or not at all."""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_lstm.plumbing.errors import UserError


@contextmanager
def alone_in(place: Path) -> Iterator[None]:
    """Keep other processes out of ``place``, an existing file or folder.

    DVC sees to that as well, but for a stage that outlived a DVC that was killed.
    """
    held = os.open(place, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{place}: another process is at work there; wait until it ends, or end "
                "it, then run this again"
            ) from None
        except OSError as error:  # some network file systems have no locks
            print(f"warning: {place}: no lock: {error.strerror}", file=sys.stderr)
        yield
    finally:
        os.close(held)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; rename what is there to ``path`` on success.

    A folder takes the place of another; a file does not take that of a folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Always the same name: what a killed run leaves, the next run replaces.
    beside = path.parent / f".{path.name}.part"
    remove(beside)
    try:
        yield beside
        if beside.is_dir():
            remove(path)
        beside.replace(path)
    finally:
        remove(beside)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path`` to fill; rename it there on success."""
    with replacing(path) as beside:
        beside.mkdir()
        yield beside


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all; an OSError names the file."""
    try:
        with replacing(path) as beside:
            beside.write_bytes(data)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk itself names no file
        raise


def misspelt(folder: Path) -> list[str]:
    """Return a line for each name below ``folder`` that is not UTF-8: DVC names none."""
    return [
        f"{path}: DVC reads names in UTF-8 alone; rename it (or all, as "
        "`convmv -r -f cp437 -t utf8 own` shows, if the ZIP is from Windows)"
        for path in sorted(folder.rglob("*"))
        if path.name.encode(errors="ignore").decode() != path.name
    ]


def remove(path: Path) -> None:
    """Remove ``path``, if it is there: a file, a link, or a folder with all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
