"""Put right what a kill left of DVC's own files, on which it then refuses to run.

DVC writes ``dvc.lock`` and ``.dvc/tmp/rwlock`` in place, and may take a dead process for a
live one. Usage: ``python tools/repair.py``. Prints a line for each; what is put aside is
kept as ``.dvc/tmp/unreadable-*``. The exit status is 1 where there was nothing to do.
With ``--first``, before DVC runs, it looks only for what DVC would read without an end.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from mnist_lstm.plumbing.files import read_regular

LOCK = Path("dvc.lock")
IN_USE = Path(".dvc/tmp/rwlock")
MOST = 2**20  # bytes, of which DVC reads some 75,000 a second
SECONDS = 30  # a bomb of YAML's anchors never ends


def main() -> int:
    """Repair both; return the exit status."""
    repairs = {LOCK: repair_lock, IN_USE: repair_rwlock}
    first = "--first" in sys.argv
    try:
        done = [repair() for path, repair in repairs.items() if not first or is_odd(path)]
    except OSError as error:
        print(f"error: DVC's own files: {error}", file=sys.stderr)
        return 1
    return 0 if any(done) else 1


def repair_lock() -> bool:
    """Replace a ``dvc.lock`` that DVC cannot read by the committed one, if there is one."""
    if is_readable(LOCK) or has_conflict(LOCK):
        return False
    set_aside(LOCK)
    shown = subprocess.run(["git", "show", f"HEAD:./{LOCK}"], capture_output=True)
    instead = "begins anew"
    if shown.returncode == 0:
        part = LOCK.with_name(f".{LOCK}.part")
        part.write_bytes(shown.stdout)
        if is_readable(part):
            part.replace(LOCK)
            instead = "goes on from the committed one"
        part.unlink(missing_ok=True)
    print(
        f"{LOCK} was unreadable, as after a kill while DVC wrote it; this {instead}, and "
        "takes what was finished from DVC's cache",
        flush=True,
    )
    return True


def is_odd(path: Path) -> bool:
    """Say whether reading ``path`` may never end: a pipe, a giant, a bomb of anchors."""
    try:
        return b"&" in read(path) and path == LOCK
    except FileNotFoundError:
        return False
    except ValueError:
        return True


def read(path: Path) -> bytes:
    """Return the content of ``path``.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is no regular file, or larger than any that DVC wrote.
    """
    if not os.path.lexists(path):
        raise FileNotFoundError
    try:
        return read_regular(path, MOST)
    except PermissionError:
        raise
    except OSError:
        raise ValueError from None


def is_readable(path: Path) -> bool:
    """Say whether DVC can read the lock file ``path``, or does not miss it."""
    from dvc.dvcfile import Lockfile
    from dvc.utils import strictyaml

    try:
        read(path)
        signal.signal(signal.SIGALRM, _out_of_time)
        signal.alarm(SECONDS)
        data, _ = strictyaml.load(str(path), Lockfile.SCHEMA)
        for _ in json.JSONEncoder(indent=1, default=str).iterencode(data):
            pass  # as DVC does, it meets a value as often as it is named
    except FileNotFoundError:
        return True
    except PermissionError:
        raise
    except Exception:  # a reader of YAML has many, for what no one wrote
        return False
    finally:
        signal.alarm(0)
    return True


def has_conflict(path: Path) -> bool:
    """Say whether ``path`` has a merge conflict in it, which is the user's to resolve."""
    try:
        return b"<<<<<<< " in read(path)
    except ValueError:
        return False


def repair_rwlock() -> bool:
    """Set aside DVC's list of what is in use where it is none, or all in it are dead.

    DVC drops a process that does not exist. It keeps one that nobody has waited for, as in
    a container without an init, and one whose number another program has now.
    """
    from dvc.rwlock import SCHEMA

    for _ in range(3):  # another DVC may be writing it: that takes milliseconds
        try:
            users = users_in(SCHEMA(json.loads(read(IN_USE))))
        except FileNotFoundError:
            return False
        except PermissionError:
            raise
        except Exception:  # no JSON, too deep, or JSON of something else
            time.sleep(0.2)
            continue
        if not users or any(map(is_running, users)):
            return False
        set_aside(IN_USE)
        print(f"{IN_USE} named processes of DVC that are gone; it is gone, too", flush=True)
        return True
    set_aside(IN_USE)
    print(
        f"{IN_USE} was unreadable, as after a kill while DVC wrote it; it is gone",
        flush=True,
    )
    return True


def users_in(found: Any) -> list[dict]:
    """Return all that DVC notes of a process, a mapping with ``pid``, within ``found``."""
    if isinstance(found, dict):
        if "pid" in found:
            return [found]
        found = list(found.values())
    return (
        [user for part in found for user in users_in(part)]
        if isinstance(found, list)
        else []
    )


def is_running(user: dict) -> bool:
    """Say whether the process that DVC noted is one of DVC, and alive."""
    import psutil

    try:
        process = psutil.Process(user["pid"])
        words = " ".join(process.cmdline())
        return process.status() != psutil.STATUS_ZOMBIE and (
            "dvc" in words or str(user.get("cmd")) in words
        )
    except psutil.AccessDenied:
        return True
    except (psutil.Error, TypeError, ValueError, OverflowError):
        return False


def set_aside(path: Path) -> None:
    """Keep ``path`` where Git and DVC do not look, beside what was put there before."""
    IN_USE.parent.mkdir(parents=True, exist_ok=True)
    name = f"unreadable-{path.name}"
    number = sum(1 for _ in IN_USE.parent.glob(f"{name}*"))
    path.rename(IN_USE.parent / (f"{name}-{number}" if number else name))


def _out_of_time(_signum: int, _frame: FrameType | None) -> None:
    raise TimeoutError


if __name__ == "__main__":
    sys.exit(main())
