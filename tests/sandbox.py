"""A copy of the project in a folder of its own, with a tiny model.

What the tests run in it is the real ``dvc`` and the real stages. What it takes for that is
imported when it is used: a machine with a GPU may lack it, see tools/cuda_check.py.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).parent.parent
NO_NETWORK = "http://127.0.0.1:9"  # the discard port: refused at once


class Sandbox:
    """A git repository with the project in it."""

    def __init__(self, path: Path):
        self.path = path

    def run(self, *command: str, ok: bool = True, **env: str) -> str:
        """Run ``command`` in the project; return all that it printed."""
        with self.start(*command, **env) as process:
            try:
                output, _ = process.communicate(timeout=1200)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert (process.returncode == 0) == ok, f"{command}: {process.returncode}\n{output}"
        return output

    def start(self, *command: str, own_group: bool = False, **env: str) -> subprocess.Popen:
        """Start ``command`` in the project, its output and errors in one pipe.

        In a process group of its own, it and its children can be killed as by a terminal.
        """
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=_environment() | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=own_group,
            preexec_fn=heed_signals,
        )

    def dvc(self, *arguments: str, ok: bool = True) -> str:
        return self.run("dvc", *arguments, ok=ok)

    def git(self, *arguments: str, ok: bool = True) -> str:
        return self.run("git", *arguments, ok=ok)

    def commit(self, message: str) -> None:
        """Commit everything that git does not ignore."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def clone(self, path: Path) -> "Sandbox":
        """Return a fresh git clone: what is committed, without DVC's cache."""
        self.run("git", "clone", "--quiet", ".", str(path))
        clone = Sandbox(path)
        clone._sign()
        return clone

    def copy(self, path: Path) -> "Sandbox":
        """Return a copy of everything, DVC's cache included."""
        shutil.copytree(self.path, path, symlinks=True)
        return Sandbox(path)

    def text(self, file: str) -> str:
        return (self.path / file).read_text()

    def table(self, file: str) -> "pd.DataFrame":
        import pandas as pd

        return pd.read_csv(self.path / file)

    def set_params(self, changes: dict) -> None:
        """Change keys of ``params.yaml``."""
        import yaml

        path = self.path / "params.yaml"
        values = yaml.safe_load(path.read_text())
        for section, keys in changes.items():
            values[section] |= keys
        path.write_text(yaml.safe_dump(values, sort_keys=False))

    def set_up(self) -> None:
        """Have make take this Python's environment for the project's own."""
        (self.path / ".venv").mkdir()
        self.run("bash", "-c", "cksum <requirements.txt >.venv/installed")

    def _sign(self) -> None:
        self.git("config", "user.name", "Tester")
        self.git("config", "user.email", "tester@example.org")


def create(path: Path, params: dict) -> Sandbox:
    """Copy the working tree, uncommitted changes included, to ``path`` and commit it.

    Its parameters are ``params``, whatever experiment the working tree holds, and nothing
    has run there yet.
    """
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    written = ("dvc.lock", "metrics/", "plots/", "own/t")  # and the user's own images
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(written):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    sandbox = Sandbox(path)
    sandbox.set_params(params)
    sandbox.git("init", "--quiet", "--initial-branch", "main")
    sandbox._sign()
    sandbox.commit("The project")
    return sandbox


def heed_signals() -> None:
    """Heed Ctrl-C, also where the tests run in the background and ignore it themselves."""
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)


def ran(output: str) -> list[str]:
    """Return the stages that ``dvc`` ran, by its output."""
    lines = output.splitlines()
    return [line.split("'")[1] for line in lines if line.startswith("Running stage")]


def _environment() -> dict[str, str]:
    """This environment, with this Python first, no network and no one's mirror."""
    # What calls the tests, and whoever runs them, may have set these.
    other = ("DATA_MIRROR", "DVC_", "GIT_", "MAKE", "MFLAGS", "PYTEST", "PYTHONPATH")
    env = {key: value for key, value in os.environ.items() if not key.startswith(other)}
    own = Path(tempfile.gettempdir()) / "mnist-lstm-tests"
    scripts = str(Path(sys.executable).parent)
    return env | {
        "PATH": os.pathsep.join((scripts, env["PATH"])),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(own / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(own / "system"),
        "DVC_SITE_CACHE_DIR": str(own / "site"),
        "OMP_NUM_THREADS": "1",
        "http_proxy": NO_NETWORK,
        "https_proxy": NO_NETWORK,
        "no_proxy": "127.0.0.1",
        "COLUMNS": "80",
    }
