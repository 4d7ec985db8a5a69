"""Put right what a kill left half-written of DVC's own files; print a line for each.

DVC writes ``dvc.lock`` and ``.dvc/tmp/rwlock`` in place; where it dies meanwhile, it then
refuses to run. Usage: ``python tools/repair.py``. What cannot be read is kept as
``.dvc/tmp/unreadable-*``. The exit status is 1 where there was nothing to put right.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

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
    """Set aside DVC's list of what is in use where it is no JSON, and stays none."""
    for _ in range(3):  # another DVC may be writing it: that takes milliseconds
        try:
            json.loads(IN_USE.read_text())
        except FileNotFoundError:
            return False
        except ValueError:
            time.sleep(0.2)
        else:
            return False
    set_aside(IN_USE)
    print(f"{IN_USE} was unreadable, as after a kill while DVC wrote it; it is gone")
    return True


def set_aside(path: Path) -> None:
    """Keep ``path`` where Git and DVC do not look."""
    IN_USE.parent.mkdir(parents=True, exist_ok=True)
    path.replace(IN_USE.parent / f"unreadable-{path.name}")


if __name__ == "__main__":
    sys.exit(main())
