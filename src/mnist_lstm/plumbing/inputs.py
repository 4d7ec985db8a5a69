"""What a stage reads, held against what lies there once it has run.

DVC hashes a stage's dependencies and parameters after it has run. What is edited meanwhile
would be recorded for the old result, and never be run.
Source: https://github.com/treeverse/dvc/issues/11058
"""

import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mnist_lstm.plumbing.errors import UserError

_stage: dict[str, list[str]] = {}  # as dvc.yaml has it; empty where this is no stage
_found: dict[str, Any] = {}


def remember() -> None:
    """Remember this stage's inputs as they are now; do so before any of them is read."""
    from mnist_lstm.plumbing.params import load_params, parse_yaml  # they take a moment

    global _stage, _found
    pipeline = Path("dvc.yaml")
    if pipeline.exists():
        stages: Any = parse_yaml(pipeline.read_text(), pipeline)
        _stage = stages["stages"].get(Path(sys.argv[0]).stem, {})
    if _stage:
        load_params()
    _found = _look()


def refuse_changes() -> None:
    """Refuse to go on where an input is another than the remembered one; name it."""
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


def _look() -> dict[str, Any]:
    """Return the value of each parameter, and a hash of each file, by their names."""
    if not _stage:
        return {}
    from pathspec import GitIgnoreSpec

    from mnist_lstm.plumbing.params import parse_yaml

    # Not as typed: who adds a key for a figure meanwhile adds it to the types, too.
    text = Path("params.yaml").read_text(encoding="utf-8", errors="replace")
    values = dict(_leaves(parse_yaml(text, "params.yaml")))
    found = {
        name: value
        for name, value in values.items()
        if any(f"{name}.".startswith(f"{param}.") for param in _stage["params"])
    }
    ignored = GitIgnoreSpec.from_lines(Path(".dvcignore").read_text().splitlines())
    roots = [Path(fill_in(dep, values)) for dep in _stage["deps"]]
    for path in (path for root in roots for path in (root, *root.rglob("*"))):
        if path.is_file() and not ignored.match_file(path):
            with path.open("rb") as file:
                found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()[:12]
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
