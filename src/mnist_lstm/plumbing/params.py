"""The typed mirror of ``params.yaml``: every key, its type and its range.

A value that does not fit is refused here, by name, before a stage does any work. No key
has a default here: the values are those of the file, which DVC tracks. Whoever changes the
*type* of a key, say from int to float, runs ``dvc repro --force``, for DVC does not see it.
"""

import difflib
import re
import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic import Field

from mnist_lstm.plumbing.errors import ParamsError

Count = Annotated[int, Field(ge=1, le=65536, description="a whole number from 1 to 65536")]
Size = Annotated[int, Field(ge=0, description="a whole number >= 0")]
Seed = Annotated[
    int, Field(ge=0, lt=2**32, description="a whole number from 0 to 4294967295")
]
# Above that, PyTorch's float32 has no room for it.
Rate = Annotated[float, Field(gt=0, lt=1e37, description="a number > 0 and < 1e37")]
Amount = Annotated[float, Field(ge=0, lt=1e37, description="a number >= 0 and < 1e37")]
Degrees = Annotated[float, Field(ge=0, le=180, description="a number from 0 to 180")]
Share = Annotated[float, Field(ge=0, lt=1, description="a number from 0 to below 1")]


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


class DataParams(_Section):
    """Which data set."""

    name: Literal["mnist", "fashion_mnist", "kmnist", "digits"]


class PrepareParams(_Section):
    """How the train images are split."""

    valid_size: Size
    seed: Seed


class ModelParams(_Section):
    """The LSTM: sizes (input Q, hidden D, classes, layers K), dropout, first weights."""

    xdim: Count
    hdim: Count
    ydim: Count
    n_layer: Count
    dropout: Share
    init: Literal["pytorch", "keras"]


class TrainParams(_Section):
    """How the model is trained."""

    epochs: Count
    batch_size: Count
    lr: Rate
    schedule: Literal["constant", "one_cycle"]
    warmup: Share
    final_lr: Amount
    beta1: Share
    beta2: Share
    weight_decay: Amount
    clip: Amount
    label_smoothing: Share
    ema: Share
    seed: Seed
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "fp32", "bf16"]


class AugmentParams(_Section):
    """How far train images are distorted at random, at most."""

    rotation: Degrees
    scale: Share
    shear: Amount
    shift: Share
    elastic: Amount


class PlotParams(_Section):
    """Which images the figures show."""

    n_sample: Annotated[
        int, Field(ge=1, le=100, description="a whole number from 1 to 100")
    ]
    seed: Seed


class Params(_Section):
    """The whole of ``params.yaml``."""

    data: DataParams
    prepare: PrepareParams
    model: ModelParams
    train: TrainParams
    augment: AugmentParams
    plot: PlotParams


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check ``path``.

    Raises:
        ParamsError: one line for each thing wrong: file, key, value, what is allowed.
    """
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise ParamsError.unreadable(path, error.strerror) from None
    # ValueError: not UTF-8, or 2001-99-99. RecursionError: brackets by the thousand.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ParamsError.not_yaml(path, error) from None
    return check_params(values, str(path))


def check_params(values: object, source: str) -> Params:
    """Return ``values``, as read from ``source``, typed.

    Raises:
        ParamsError: one line for each thing wrong: source, key, value, what is allowed.
    """
    try:
        return Params.model_validate(values)
    except pydantic.ValidationError as error:
        lines = [str(_explain(item, source)) for item in error.errors()]
        raise ParamsError("\n".join(lines)) from None


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's floats and unique keys.

    ``1e-05`` is a float, as DVC writes it; of a key that stands twice, DVC and PyYAML would
    not see the same value.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Return the mapping; refuse one in which a key stands twice."""
        keys = [key.value for key, _ in node.value]
        for (key, _), name in zip(node.value, keys, strict=True):
            if keys.count(name) > 1:
                problem = f"duplicate key {name!r}"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        return super().construct_mapping(node, deep)


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def _explain(item: Any, source: str) -> ParamsError:
    """Return the error for what pydantic found: the key, the value, what is allowed."""
    key = ".".join(map(str, item["loc"])) or "the file"
    if not key.isprintable():
        key = repr(key)
    if item["type"] in ("extra_forbidden", "invalid_key"):
        near = difflib.get_close_matches(key, _keys(), n=1)
        got = _shown(item["input"])
        return ParamsError.unknown(source, key, got, near[0] if near else "", _keys())
    allowed = _allowed(item["loc"])
    if item["type"] == "missing":
        return ParamsError.missing(source, key, allowed)
    return ParamsError.of(key, allowed, _shown(item["input"]), source)


def _shown(value: object) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes out no number of thousands of digits
        return "a number too long to write"


def _allowed(loc: tuple[str, ...]) -> str:
    """Describe what is allowed at ``loc``, in words for a person."""
    kind: Any = Params
    description = None
    for name in loc:
        field = kind.model_fields[name]
        kind, description = field.annotation, field.description
    if description:
        return description
    choices = getattr(kind, "__args__", None)
    if choices:
        return f"one of {', '.join(choices)}"
    return f"a mapping with {', '.join(kind.model_fields)}"


def _keys(kind: Any = Params) -> list[str]:
    keys: list[str] = []
    for name, field in kind.model_fields.items():
        nested = isinstance(field.annotation, type) and issubclass(
            field.annotation, _Section
        )
        keys += [f"{name}.{key}" for key in _keys(field.annotation)] if nested else [name]
    return keys
