"""The parameters where pydantic or a reader of YAML is missing: unchecked.

A bare machine with a GPU, see ``cuda_check.py``, has PyTorch and little else.
"""

import sys
import types
from contextlib import suppress
from pathlib import Path
from typing import Any


class Values(types.SimpleNamespace):
    """Parameters as pydantic would hold them, unchecked."""

    def model_dump(self) -> dict[str, Any]:
        """Return them by name, sections as mappings."""
        return {
            name: value.model_dump() if isinstance(value, Values) else value
            for name, value in vars(self).items()
        }

    def model_copy(self, update: dict[str, Any]) -> "Values":
        """Return them with some changed."""
        return Values(**vars(self) | update)


def parse_yaml(text: str, _source: object = None) -> dict[str, dict[str, Any]]:
    """Read sections of ``key: value``, which is all that ``params.yaml`` has."""
    sections: dict[str, dict[str, Any]] = {}
    section: dict[str, Any] = {}
    for line in text.splitlines():
        key, _, value = line.partition("#")[0].partition(":")
        if key.startswith("  "):
            section[key.strip()] = typed(value.strip())
        elif key.strip():
            section = sections.setdefault(key, {})
    return sections


def load_params(path: Path = Path("params.yaml")) -> Values:
    """Return the parameters in ``path``."""
    sections = parse_yaml(path.read_text())
    return Values(**{name: Values(**values) for name, values in sections.items()})


def typed(text: str) -> int | float | str:
    """Return a number where ``text`` is one."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def stand_in() -> None:
    """Let this be ``mnist_lstm.plumbing.params``, where that cannot be imported."""
    try:
        import mnist_lstm.plumbing.params  # noqa: F401
    except ImportError:
        module: Any = types.ModuleType("mnist_lstm.plumbing.params")
        names = ("ModelParams", "TrainParams", "AugmentParams", "PrepareParams", "Params")
        vars(module).update(dict.fromkeys(names, Values))
        module.load_params, module.parse_yaml = load_params, parse_yaml
        sys.modules[module.__name__] = module
