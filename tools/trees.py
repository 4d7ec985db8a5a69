"""A state of the project as Git holds it, committed or not: files, parameters, code."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import yaml

from mnist_lstm.plumbing.inputs import fill_in
from mnist_lstm.plumbing.params import parse_yaml

TRAINS = ("prepare", "train", "evaluate")  # the stages that decide an accuracy


def call(folder: Path, *command: str, **env: str) -> str:
    """Return what ``command`` prints in ``folder``; end with all of it where it fails."""
    done = subprocess.run(
        command, cwd=folder, env=os.environ | env, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"error: {folder}: {' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def find_commit(folder: Path, name: str) -> str:
    """Return the hash of the commit that ``name`` means; end where there is none."""
    command = ["git", "rev-parse", "--quiet", "--verify", "--end-of-options"]
    command.append(f"{name}^{{commit}}")
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if found.returncode != 0:
        unknown = (
            f"BASE={name!r} is not a known commit; name a branch, a tag or a commit "
            "(in a shallow clone, `git fetch --unshallow` first)"
        )
        sys.exit(f"error: {found.stderr.strip() or unknown}")
    return found.stdout.strip()


def working_tree(folder: Path, index: Path) -> str:
    """Return a tree of Git's with what is in ``folder`` and not ignored, committed or not.

    Own data that Git does not track stay outside: they may be large.

    Args:
        folder: the project.
        index: a new file, which Git needs meanwhile.
    """
    env = {"GIT_INDEX_FILE": str(index)}
    call(folder, "git", "read-tree", "HEAD", **env)
    call(folder, "git", "add", "--update", **env)
    call(folder, "git", "add", "--all", "--", ".", ":(exclude)own", **env)
    return call(folder, "git", "write-tree", **env).strip()


def extract(tree: str, folder: Path) -> None:
    """Make a project of ``tree`` in the new ``folder``."""
    folder.mkdir(parents=True)
    call(Path(), "sh", "-c", f'git archive "{tree}" | tar -x -C "{folder}"')
    call(folder, "git", "init", "--quiet")


def file_of(folder: Path, commit: str, name: str) -> str:
    """Write the file ``name`` of ``commit`` into a scratch folder; return where it is.

    Returns:
        The path, relative to ``folder``; "none" where the commit has no such file.
    """
    command = ["git", "show", f"{commit}:./{name}"]
    found = subprocess.run(command, cwd=folder, capture_output=True)
    if found.returncode:
        return "none"
    path = Path(".dvc/tmp/review", commit[:10], name)
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(found.stdout)
    return str(path)


def params_of(folder: Path, tree: str) -> dict[str, dict[str, Any]]:
    """Return the parameters in ``tree``, of any age."""
    text = call(folder, "git", "show", f"{tree}:./params.yaml")
    return cast(dict, parse_yaml(text, "params.yaml"))


def code_of(folder: Path, tree: str, params: dict[str, Any] | None = None) -> str:
    """Return a name of the code in ``tree`` that decides an accuracy, ten letters long.

    ``params``: other parameters than those in ``tree``; they name the model.
    """
    pipeline = yaml.safe_load(call(folder, "git", "show", f"{tree}:./dvc.yaml"))
    stages = [pipeline["stages"].get(name, {}) for name in TRAINS]
    name = (params or params_of(folder, tree))["model"].get("name", "lstm")
    deps = {
        fill_in(dep, {"model.name": name})
        for stage in stages
        for dep in stage.get("deps", [])
    }
    code = sorted(dep for dep in deps if dep.startswith(("src/", "stages/")))
    found = call(folder, "git", "ls-tree", tree, "--", *code)
    return hashlib.sha256(found.encode()).hexdigest()[:10]
