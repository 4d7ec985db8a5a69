"""What a Ray actor does on its host: run experiments in a clone of its own.

The driver sends this module to the hosts. They need an environment with the project's
requirements and Ray, and Git; the project itself they fetch.
"""

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

# The last line of a failed command's output says why; more than this is not sent.
LONGEST_LOG = 2**20  # bytes

# Runs "$@", and ends it with all that it started when standard input ends: when the actor
# is gone, however it died.
LEASH = """
exec 3<&0 </dev/null
{ read -r _ <&3; kill -TERM 0; } & watch=$!
"$@" 3<&-
status=$?
kill "$watch"
exit "$status"
"""


class Source(NamedTuple):
    """What a clone is made of, and where its results go."""

    git: str  # URL of the Git remote
    refs: list[str]  # where the code is there
    commit: str  # the baseline of the experiments
    carried: str  # a commit of `git stash create` with what is not committed, or ""
    config: dict[str, Any]  # the clone's .dvc/config.local; names the DVC remote
    user: dict[str, str]  # user.name and user.email
    tracked: list[str]  # what `dvc add` tracks: *.dvc
    cache: str  # the project's own DVC cache, for actors on the driver's host
    mirror: str  # DATA_MIRROR, or ""


class Worker:
    """Runs experiments one by one; to be made a Ray actor."""

    def __init__(self, source: Source, home: str):
        """``home``: the driver's node, with the project's own cache; "": without Ray."""
        self.source, self.home = source, home
        self.host = self.clone = Path()
        self.held: int | None = None
        self.fetched: set[str] = set()
        # The stages call `python`, which is to be this one.
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        mirror = {"DATA_MIRROR": source.mirror} if source.mirror else {}
        self.env = os.environ | mirror | {"PATH": path}

    def set_up(self) -> str:
        """Clone the project; return "", or one line that says why it cannot be."""
        try:
            self.host = host_folder()
            self._clone()
        except (OSError, subprocess.CalledProcessError) as error:
            return f"{socket.gethostname()}: {self._why(error)}"
        return ""

    def run(self, name: str, overrides: list[str], data: str) -> dict[str, Any]:
        """Run the experiment ``name`` and push it.

        Returns:
            ``error``: one line, or "" on success; ``metrics``: those that it wrote;
            ``log``: its output; ``taken``: another machine pushed this name meanwhile.
        """
        try:
            if not self.held:
                self._clone()
            self._fetch(data)
            self._reset()
            settings = [word for override in overrides for word in ("-S", override)]
            self._dvc("exp", "run", "--name", name, *settings)
            taken = self._push(name)
            metrics = self.clone / "metrics/evaluate.json"
            values = json.loads(metrics.read_text()) if metrics.exists() else {}
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            result = {"error": self._why(error), "log": self._log()}
            self._leave()  # whatever failed may have left the clone in any state
            return result
        return {"error": "", "log": self._log(), "metrics": values, "taken": taken}

    def close(self) -> None:
        """Remove the clone."""
        self._leave()
        remove_unused(self.host)

    def _clone(self) -> None:
        remove_unused(self.host)
        self.clone, self.held = new_clone(self.host)
        self._git("init", "--quiet", "--initial-branch", "sweep")
        self._git("remote", "add", "origin", self.source.git)
        for key, value in self.source.user.items():
            self._git("config", key, value)
        self._git("fetch", "--quiet", "origin", *self.source.refs)
        self._git("reset", "--quiet", "--hard", self.source.commit)
        from dvc.config import Config

        with Config(self.clone / ".dvc", validate=False).edit("local") as config:
            config.update(self.source.config)
            own = str(self.host / "cache")
            at_home = not self.home or node() == self.home
            cache = self.source.cache if at_home else own
            config["cache"] = {**config.get("cache", {}), "dir": cache}

    def _fetch(self, data: str) -> None:
        """Bring the data set ``data`` into the host's cache: one actor, the others wait."""
        if data in self.fetched:
            return
        with alone(self.host / "data.lock"):
            self._reset()
            if self.source.tracked:
                self._dvc("pull", *self.source.tracked)
            self._dvc("exp", "run", "-S", f"data.name={data}", "download")
        self.fetched.add(data)

    def _reset(self) -> None:
        """Go back to what the trials start from, whatever the last one left."""
        (self.clone / ".git/trial.log").unlink(missing_ok=True)
        self._git("reset", "--quiet", "--hard", self.source.commit)
        self._git("clean", "--quiet", "--force", "-d")
        if self.source.carried:
            self._git("stash", "apply", "--quiet", "--index", self.source.carried)

    def _push(self, name: str) -> bool:
        """Push the experiment ``name``; return whether another of that name was first.

        Data first: a name on the Git remote says that all of it is there. To `dvc exp push`
        a name that exists is no error, so the remote is asked.
        """
        ref = experiment_ref(self.source.commit, name)
        own = self._git("rev-parse", ref)
        self._dvc("push")
        self._dvc("exp", "push", "origin", name)
        found = self._git("ls-remote", "origin", ref).partition("\t")[0]
        if not found:
            raise ValueError(f"`dvc exp push` left no {name} on {self.source.git}")
        return found != own

    def _git(self, *arguments: str) -> str:
        git = ["git", *arguments]
        done = subprocess.run(
            git, cwd=self.clone, env=self.env, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def _dvc(self, *arguments: str) -> None:
        command = ["sh", "-c", LEASH, "sh", sys.executable, "-m", "dvc", *arguments]
        with (self.clone / ".git/trial.log").open("ab") as log:
            # The clone stays locked until the last of its processes has ended.
            done = subprocess.Popen(
                command,
                cwd=self.clone,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[self.held] if self.held else [],
            )
            status = done.wait()
        assert done.stdin
        done.stdin.close()
        if status:
            raise subprocess.CalledProcessError(status, command[5:])

    def _log(self) -> str:
        path = self.clone / ".git/trial.log"
        text = path.read_bytes()[-LONGEST_LOG:] if path.exists() else b""
        return text.decode(errors="backslashreplace")

    def _why(self, error: Exception) -> str:
        """Return one line: what a stage says of itself, else what DVC or Git says."""
        if not isinstance(error, subprocess.CalledProcessError):
            return str(error)
        lines = (error.stderr or self._log()).strip().splitlines() or [str(error)]
        said = [line for line in lines if line.lower().startswith(("error: ", "fatal: "))]
        return (said or lines[-1:])[0].strip()

    def _leave(self) -> None:
        """Leave the clone, which the next one removes."""
        if self.held:
            os.close(self.held)
        self.held = None
        self.fetched.clear()


def experiment_ref(commit: str, name: str) -> str:
    """Return where DVC keeps the experiment ``name`` of the baseline ``commit``."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def node() -> str:
    """Return the name of the Ray node that this process is on."""
    import ray

    return ray.get_runtime_context().get_node_id()


def host_folder() -> Path:
    """Return this user's folder for sweeps on this host: clones, and a DVC cache."""
    folder = Path(tempfile.gettempdir(), f"mnist-lstm-sweep-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder}: of another user")
    return folder


def new_clone(host: Path) -> tuple[Path, int]:
    """Return a new folder and the descriptor that locks it."""
    with alone(host / "clones.lock"):
        clone = Path(tempfile.mkdtemp(prefix="clone-", dir=host))
        held = os.open(clone, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    return clone, held


def remove_unused(host: Path) -> None:
    """Remove the clones in ``host`` in which no process is at work any more."""
    with alone(host / "clones.lock"):
        for clone in host.glob("clone-*"):
            held = os.open(clone, os.O_RDONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(clone, ignore_errors=True)
            except BlockingIOError:
                pass
            finally:
                os.close(held)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process of this host holds ``path``; hold it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
