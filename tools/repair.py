"""Put right what a kill left of DVC's own files, on which it then refuses to run.

DVC writes ``dvc.lock`` and ``.dvc/tmp/rwlock`` in place, and may take a dead process for a
live one. Usage: ``python tools/repair.py``. Prints a line for each; what is put aside is
kept as ``.dvc/tmp/unreadable-*``. The exit status is 1 where there was nothing to do.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.utils import strictyaml

LOCK = Path("dvc.lock")
IN_USE = Path(".dvc/tmp/rwlock")


def main() -> int:
    """Repair both; return the exit status."""
    repaired = [repair_lock(), repair_rwlock()]
    return 0 if any(repaired) else 1


def repair_lock() -> bool:
    """Replace a ``dvc.lock`` that DVC cannot read by the committed one, if there is one."""
    if is_readable(LOCK) or "<<<<<<< " in LOCK.read_text(errors="replace"):
        return False  # a merge conflict is the user's to resolve
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


def is_readable(path: Path) -> bool:
    """Say whether DVC can read the lock file ``path``, or does not miss it."""
    try:
        strictyaml.load(str(path), Lockfile.SCHEMA)
    except FileNotFoundError:
        return True
    except (DvcException, ValueError):
        return False
    return True


def repair_rwlock() -> bool:
    """Set aside DVC's list of what is in use where it is no JSON, or all in it are dead.

    DVC drops a process that does not exist. It keeps one that nobody has waited for, as in
    a container without an init, and one whose number another program has now.
    """
    for _ in range(3):  # another DVC may be writing it: that takes milliseconds
        try:
            users = users_in(json.loads(IN_USE.read_text()))
        except FileNotFoundError:
            return False
        except ValueError:
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
    try:
        process = psutil.Process(user["pid"])
        words = " ".join(process.cmdline())
        return process.status() != psutil.STATUS_ZOMBIE and (
            "dvc" in words or str(user.get("cmd")) in words
        )
    except psutil.AccessDenied:
        return True
    except (psutil.Error, TypeError, ValueError):
        return False


def set_aside(path: Path) -> None:
    """Keep ``path`` where Git and DVC do not look."""
    IN_USE.parent.mkdir(parents=True, exist_ok=True)
    path.replace(IN_USE.parent / f"unreadable-{path.name}")


if __name__ == "__main__":
    sys.exit(main())
