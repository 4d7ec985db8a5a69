"""Where a sweep's code and results pass through: a Git remote and a DVC remote."""

import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.config import Config
from dvc.exceptions import DvcException
from dvc.repo import Repo

from mnist_lstm.plumbing.errors import UserError, one_line
from mnist_lstm.plumbing.params import check_params, parse_yaml
from sweeps.actor import Source, experiment_ref
from sweeps.errors import SweepError
from sweeps.plan import PARAMS, Result, Version

SCRATCH = Path(".dvc/tmp/sweep")
RESULTS = "metrics/evaluate.json"
IDENTITY = ("user.name", "user.email")


@dataclass(frozen=True)
class Code:
    """The code that the trials run: a commit, and what is carried on top of it."""

    commit: str
    carried: str  # a commit of `git stash create`, or ""

    @classmethod
    def here(cls, carry: bool) -> "Code":
        """Return the code in the working directory.

        Raises:
            SweepError: no commit yet, or a dirty tree that is not to be carried.
        """
        commit = git("rev-parse", "--verify", "HEAD")
        dirty = git("status", "--porcelain", "--untracked-files=no").splitlines()
        if not dirty:
            return cls(commit, "")
        names = ", ".join(line.split(maxsplit=1)[1] for line in dirty[:3])
        names += ", ..." if len(dirty) > 3 else ""
        if not carry:
            raise SweepError(
                f"uncommitted changes: {names}; commit them, or --carry takes them along"
            )
        print(f"carried into every trial, uncommitted: {names}")
        return cls(commit, git("stash", "create"))

    @property
    def version(self) -> Version:
        """What the names of the trials depend on; the text of params.yaml."""
        tree = git("rev-parse", f"{self.carried}^{{tree}}") if self.carried else ""
        return Version(self.commit + tree, Path(PARAMS).read_text())


@dataclass(frozen=True)
class Remote:
    """A Git remote and a DVC remote."""

    git: str  # URL, or an absolute path
    dvc: str  # name
    config: dict[str, Any]  # what the clones need in .dvc/config.local
    cache: str

    @classmethod
    def of_project(cls) -> "Remote":
        """Return the project's own remotes if it has both, else two in a scratch folder."""
        with said_by_dvc("config"):
            repo = Repo()
        local = json.loads(json.dumps(Config(repo.dvc_dir).load_one("local")))
        cache = str(repo.cache.local.path)
        dvc = repo.config["core"].get("remote")
        url = own_git_remote()
        if dvc and url:
            kept = repo.config["remote"].get(dvc, {}).get("url", "")
            if Path(kept).is_absolute():  # it may be relative to this clone
                local["remote"].setdefault(dvc, {})["url"] = str(kept)
            local["core"]["remote"] = dvc
            return cls(url, dvc, local, cache)
        place = SCRATCH.resolve()
        git("init", "--quiet", "--bare", str(place / "git"))
        print(
            f"no Git and DVC remote of its own: results pass through {SCRATCH}", flush=True
        )
        local["remote"]["sweep"] = {"url": str(place / "dvc")}
        local["core"]["remote"] = "sweep"
        return cls(str(place / "git"), "sweep", local, cache)

    @contextmanager
    def published(self, code: Code) -> Iterator[Source]:
        """Push the code, and what `dvc add` tracks; give what the clones are made of.

        In the end the code is taken back, for not every commit is meant to be public.
        """
        commits = [c for c in (code.commit, code.carried) if c]
        # The same for a driver that starts again, another one for another clone.
        place = hashlib.sha256(f"{socket.gethostname()}:{Path.cwd()}".encode()).hexdigest()
        refs = [f"refs/sweeps/{place[:12]}/{commit}" for commit in commits]
        pairs = [f"{c}:{ref}" for c, ref in zip(commits, refs, strict=True)]
        git("push", "--quiet", "--force", self.git, *pairs)
        if tracked := tracked_files():
            with Repo(config=self.config) as repo, said_by_dvc("push"):
                repo.push(tracked)
        user = [(k, git("config", "--get", "--default", "", k)) for k in IDENTITY]
        try:
            yield Source(
                git=self.git,
                refs=refs,
                commit=code.commit,
                carried=code.carried,
                config=self.config,
                user={key: value for key, value in user if value},
                tracked=tracked,
                cache=self.cache,
                mirror=mirror(),
            )
        finally:
            git("push", "--quiet", self.git, *(f":{ref}" for ref in refs))

    def results(self, code: Code) -> dict[str, Result]:
        """Return what the Git remote has of this commit's experiments, by their names."""
        listed = git("ls-remote", self.git, experiment_ref(code.commit, "sweep-*"))
        refs = [line.split("\t") for line in listed.splitlines()]
        if refs:
            git("fetch", "--quiet", self.git, *(ref for _, ref in refs))
        return {ref.rpartition("/")[2]: result(sha) for sha, ref in refs}

    def pull(self, code: Code, names: set[str]) -> None:
        """Pull the experiments ``names`` into this project.

        Raises:
            SweepError: with the names of those that did not come.
        """
        if not names:
            return
        with Repo(config=self.config) as repo, said_by_dvc("exp pull"):
            repo.experiments.pull(self.git, sorted(names), pull_cache=True)
        here = git("for-each-ref", "--format=%(refname)", experiment_ref(code.commit, "*"))
        missing = names - {ref.rpartition("/")[2] for ref in here.splitlines()}
        if missing:
            lost = ", ".join(sorted(missing))
            raise SweepError(f"not pulled: {lost}; {self.git} has them, run this again")


def result(sha: str) -> Result:
    """Return what the experiment ``sha`` holds; nothing where that is unreadable."""
    try:
        params = parse_yaml(git("show", f"{sha}:{PARAMS}"), sha)
        metrics = json.loads(git("show", f"{sha}:{RESULTS}"))
        return Result(check_params(params, sha), metrics)
    except (UserError, ValueError):
        return Result(None, {})


@contextmanager
def said_by_dvc(command: str) -> Iterator[None]:
    """Turn DVC's error into one line."""
    try:
        yield
    except DvcException as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise SweepError(f"dvc {command}: {one_line(f'{error}{cause}')}") from None


def mirror() -> str:
    """Return DATA_MIRROR as it holds in other folders, too."""
    named = os.environ.get("DATA_MIRROR", "")
    return str(Path(named).resolve()) if named and Path(named).is_dir() else named


def own_git_remote() -> str:
    """Return the URL of the branch's Git remote, else of `origin`, or "" without one."""
    branch = git("branch", "--show-current")
    name = git("config", "--get", "--default", "origin", f"branch.{branch}.remote")
    if name not in git("remote").split():
        return ""
    url = git("remote", "get-url", "--push", name)
    return str(Path(url).resolve()) if Path(url).is_dir() else url


def tracked_files() -> list[str]:
    """Return what `dvc add` tracks."""
    return git("ls-files", "*.dvc").splitlines()


def git(*arguments: str) -> str:
    """Return what Git prints.

    Raises:
        SweepError: with what it says instead.
    """
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        said = [line for line in lines if line.startswith(("fatal: ", "error: "))] or lines
        raise SweepError(f"git {arguments[0]}: {said[0] if said else 'failed'}")
    return done.stdout.strip()
