"""Put right what a kill or a disk left of DVC's own files, which DVC would trip over.

DVC writes ``dvc.lock`` and ``.dvc/tmp/rwlock`` in place, may take a dead process for a live
one, and trusts what lies in its cache. Usage: ``python tools/repair.py <LOG``, where LOG is
what a run that failed has said, or ``/dev/null``. Prints a line for each repair; the exit
status is 1 where it prints none.
"""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import psutil
from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils import strictyaml

LOCK = Path("dvc.lock")
ASIDE = Path(".dvc/tmp/unreadable-dvc.lock")
IN_USE = Path(".dvc/tmp/rwlock")
SUSPECT = r"^error: (data|models|plots)/"  # a stage, of what another wrote


def main() -> int:
    """Repair what needs it; return the exit status."""
    suspect = re.search(SUSPECT, sys.stdin.read(), re.MULTILINE)
    try:
        repo = Repo()
        with repo.lock:  # a living DVC holds it while it writes
            forget_the_dead()
            said = repair_lock()
            cache = Path(repo.cache.local.path)
            if suspect or has_cut(cache):
                said += repair_cache(cache)
    except (DvcException, FileNotFoundError):  # another is at work; or DVC itself will say
        return 1
    print("".join(f"{line}\n" for line in said), end="", flush=True)
    return 0 if said else 1


def repair_lock() -> list[str]:
    """Replace a ``dvc.lock`` that DVC cannot read by the committed one, if there is one."""
    if not LOCK.exists() or b"<<<<<<< " in LOCK.read_bytes():
        return []  # a merge conflict is the user's to resolve
    try:
        strictyaml.load(str(LOCK), Lockfile.SCHEMA)
    except (DvcException, ValueError):  # another form, or no text
        LOCK.replace(ASIDE)
    else:
        return []
    shown = subprocess.run(["git", "show", f"HEAD:./{LOCK}"], capture_output=True)
    if shown.stdout:
        LOCK.write_bytes(shown.stdout)
    instead = "goes on from the committed one" if shown.stdout else "begins anew"
    took = "takes what was finished from DVC's cache"
    return [f"{LOCK} was unreadable, as after a kill; this {instead}, and {took}"]


def forget_the_dead() -> None:
    """Remove DVC's list of what is in use where it names no living DVC.

    It may be cut. DVC itself drops a process that does not exist, and keeps one that nobody
    has waited for, as in a container without an init, and one whose number another program
    has now.
    """
    text = IN_USE.read_text(errors="replace") if IN_USE.exists() else ""
    named = {int(pid) for pid in re.findall(r'"pid": *(\d+)', text)}
    # Of a process that is dead there is no command line.
    running = {p.pid: p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])}
    if not any("dvc" in " ".join(running.get(pid, [])) for pid in named):
        IN_USE.unlink(missing_ok=True)


def has_cut(cache: Path) -> bool:
    """Say whether a file in DVC's cache has another size than ``dvc.lock`` notes."""
    lock = LOCK.read_text() if LOCK.exists() else ""
    noted = re.findall(r"md5: (\w\w)(\w+)\n +size: (\d+)", lock)
    stored = [(cache / name / rest, int(size)) for name, rest, size in noted]
    return any(path.exists() and path.stat().st_size != size for path, size in stored)


def repair_cache(cache: Path) -> list[str]:
    """Remove what is damaged: DVC takes it for whole, and puts it in the place of what is.

    A file bears the hash of its content as its name.
    """
    said = []
    for path in cache.glob("??/*"):
        with path.open("rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
        if path.parent.name + path.name.removesuffix(".dir") != md5:
            path.unlink()
            said.append(f"{path} was damaged; it is gone, and what made it runs again")
    return said


if __name__ == "__main__":
    sys.exit(main())
