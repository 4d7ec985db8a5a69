"""A state of the project as Git holds it, committed or not: files, parameters, code.

The project is the working folder.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
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


def git(*arguments: str, **env: str) -> str:
    """Return what Git prints of the project."""
    return call(Path(), "git", *arguments, **env)


def find_commit(name: str) -> str:
    """Return the hash of the commit that ``name`` means; end where there is none."""
    command = ["git", "rev-parse", "--quiet", "--verify", "--end-of-options"]
    command.append(f"{name}^{{commit}}")
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode != 0:
        unknown = (
            f"BASE={name!r} is not a known commit; name a branch, a tag or a commit "
            "(in a shallow clone, `git fetch --unshallow` first)"
        )
        sys.exit(f"error: {found.stderr.strip() or unknown}")
    return found.stdout.strip()


def working_tree() -> str:
    """Return a tree of Git's with what is here and not ignored, committed or not.

    Own data that Git does not track stay outside: they may be large.
    """
    with tempfile.TemporaryDirectory() as temporary:
        env = {"GIT_INDEX_FILE": f"{temporary}/index"}
        git("read-tree", "HEAD", **env)
        git("add", "--update", **env)
        git("add", "--all", "--", ".", ":(exclude)own", **env)
        return git("write-tree", **env).strip()


def extract(tree: str, folder: Path) -> None:
    """Make a project of ``tree`` in the new ``folder``."""
    folder.mkdir(parents=True)
    call(Path(), "sh", "-c", f'git archive "{tree}" | tar -x -C "{folder}"')
    call(folder, "git", "init", "--quiet")


def both(base: str, name: str) -> dict[str, Path]:
    """Return the path of the file ``name`` here, and of a copy as in ``base``, if any."""
    found = subprocess.run(["git", "show", f"{base}:./{name}"], capture_output=True)
    old = Path(".dvc/tmp/review", base[:10], name)
    if found.returncode == 0:
        old.parent.mkdir(parents=True, exist_ok=True)
        old.write_bytes(found.stdout)
    paths = {"base": old, "here": Path(name)}
    return {side: path for side, path in paths.items() if path.exists()}


def params_of(tree: str) -> dict[str, dict[str, Any]]:
    """Return the parameters in ``tree``, of any age."""
    return cast(dict, parse_yaml(git("show", f"{tree}:./params.yaml"), "params.yaml"))


def code_of(tree: str, params: dict[str, Any]) -> str:
    """Return ten letters: the code in ``tree`` that decides an accuracy by ``params``."""
    stages = yaml.safe_load(git("show", f"{tree}:./dvc.yaml"))["stages"]
    model = {"model.name": params["model"].get("name", "lstm")}
    lists = [stages.get(name, {}).get("deps", []) for name in TRAINS]
    deps = {fill_in(dep, model) for found in lists for dep in found}
    code = sorted(dep for dep in deps if dep.startswith(("src/", "stages/")))
    found = git("ls-tree", tree, "--", *code)
    return hashlib.sha256(found.encode()).hexdigest()[:10]
