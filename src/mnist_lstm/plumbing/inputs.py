"""What a stage reads, held against what lies there once it has run.

DVC hashes a stage's dependencies and parameters after it has run. What is edited meanwhile
would be recorded for the old result, and never be run.
Source: https://github.com/treeverse/dvc/issues/11058
"""

import functools
import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mnist_lstm.plumbing.errors import UserError

_look: Callable[[], dict[str, Any]] = dict  # at nothing, where this is no stage
_found: dict[str, Any] = {}


def remember() -> None:
    """Remember this stage's inputs as they are now; do so before any of them is read.

    Raises:
        ParamsError: params.yaml holds what does not fit.
    """
    from ruamel.yaml import YAML  # not above: it takes a moment

    global _look, _found
    pipeline = Path("dvc.yaml")
    stages = YAML(typ="safe").load(pipeline)["stages"] if pipeline.exists() else {}
    if stage := stages.get(Path(sys.argv[0]).stem):
        from pathspec import GitIgnoreSpec

        from mnist_lstm.plumbing.params import load_params

        load_params()
        ignored = GitIgnoreSpec.from_lines(Path(".dvcignore").read_text().splitlines())
        _look = functools.partial(_look_at, stage["deps"], stage["params"], ignored)
        _found = _look()


def refuse_changes() -> None:
    """Refuse to go on where an input is another than the remembered one.

    Raises:
        UserError: names what changed.
    """
    now = _look()
    changed = [
        f"{name} ({_found.get(name, 'absent')}, now {now.get(name, 'absent')})"
        for name in _found | now  # parameters first
        if _found.get(name) != now.get(name)
    ]
    if changed:
        shown = ", ".join(changed[:3]) + ", ..." * (len(changed) > 3)
        raise UserError(
            f"changed while this ran: {shown}; nothing is recorded; run it again, or put "
            "that back first: what is trained is kept"
        )


def _look_at(deps: list[str], params: list[str], ignored: Any) -> dict[str, Any]:
    """Return the value of each parameter, and a hash of each file, by their names."""
    from mnist_lstm.plumbing.params import parse_yaml

    # Not as typed: who adds a key for a figure meanwhile adds it to the types, too.
    text = Path("params.yaml").read_text(encoding="utf-8", errors="replace")
    values = dict(_leaves(parse_yaml(text, "params.yaml")))
    found = {
        name: value
        for name, value in values.items()
        if any(f"{name}.".startswith(f"{param}.") for param in params)
    }
    roots = [Path(fill_in(dep, values)) for dep in deps]
    for path in (path for root in roots for path in (root, *root.rglob("*"))):
        if path.is_file() and not ignored.match_file(path):
            now = path.stat()
            found[str(path)] = _hash(path, now.st_ino, now.st_ctime_ns)
    return found


def fill_in(dep: str, values: Mapping[str, Any]) -> str:
    """Return a dependency of dvc.yaml with its ``${KEY}`` replaced by ``values[KEY]``."""
    return re.sub(r"\$\{([\w.]+)\}", lambda found: str(values[found[1]]), dep)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key in value:
            yield from _leaves(value[key], f"{name}.{key}" if name else key)
    else:
        yield name, value


@functools.cache
def _hash(path: Path, *_version: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
