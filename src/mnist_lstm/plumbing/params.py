"""The typed mirror of ``params.yaml``: every key, its type and its range.

A value that does not fit is refused here, by name, before a stage does any work. No key
has a default here: the values are those of the file, which DVC tracks. Whoever changes the
*type* of a key, say from int to float, runs ``dvc repro --force``, for DVC does not see it.
"""

import difflib
import reprlib
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from mnist_lstm.plumbing.errors import ParamsError
from mnist_lstm.plumbing.files import read_regular

Count = Annotated[int, Field(ge=1, le=65536, description="a whole number from 1 to 65536")]
Size = Annotated[int, Field(ge=0, description="a whole number >= 0")]
Seed = Annotated[
    int, Field(ge=0, lt=2**32, description="a whole number from 0 to 4294967295")
]
# Above that, PyTorch's float32 has no room for it.
Rate = Annotated[float, Field(gt=0, lt=1e37, description="a number > 0 and < 1e37")]
Amount = Annotated[float, Field(ge=0, lt=1e37, description="a number >= 0 and < 1e37")]
Degrees = Annotated[float, Field(ge=0, le=180, description="a number from 0 to 180")]
Part = Annotated[float, Field(gt=0, lt=1, description="a number between 0 and 1")]
Share = Annotated[float, Field(ge=0, lt=1, description="a number from 0 to below 1")]


_MAX_LENGTH = 2**16  # characters; the file has 3,000
_MAX_LINE = 1000  # the reader takes the square of a line's length where brackets nest


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


class DataParams(_Section):
    """Which data set."""

    name: Literal[
        "mnist", "fashion_mnist", "kmnist", "emnist", "qmnist", "usps", "digits", "own"
    ]


class PrepareParams(_Section):
    """How the train images are split, and how own pictures become images."""

    valid_size: Size
    valid_split: Literal["random", "last"]
    test_size: Part
    seed: Seed
    picture: Literal["mnist", "scale"]
    height: Count
    width: Count


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
    epoch_size: Size
    batch_size: Count
    shards: Count
    optimizer: Literal["adamw", "muon"]
    lr: Rate
    schedule: Literal["constant", "one_cycle"]
    warmup: Share
    final_lr: Amount
    beta1: Share
    beta2: Share
    weight_decay: Amount
    muon_lr: Rate
    momentum: Share
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
    fade: Share


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
        text = read_regular(path, 4 * _MAX_LENGTH).decode()
    except FileNotFoundError:
        raise ParamsError.absent(path) from None
    except OSError as error:
        raise ParamsError.unreadable(path, error.strerror) from None
    except ValueError as error:  # not UTF-8
        raise ParamsError.not_yaml(path, error) from None
    values = parse_yaml(text, path)
    if values is None:
        raise ParamsError.empty(path)
    return check_params(values, str(path))


def check_params(values: object, source: str) -> Params:
    """Return ``values``, as read from ``source``, typed.

    Raises:
        ParamsError: one line for each thing wrong: source, key, value, what is allowed.
    """
    try:
        return Params.model_validate(values)
    except pydantic.ValidationError as error:
        lines = [line for item in error.errors() for line in _explain(item, source).args]
        raise ParamsError(*lines) from None


def parse_yaml(text: str, source: object) -> object:
    """Read ``text`` with DVC's own reader: to it, ``020`` is 20; to another it is 16.

    Raises:
        ParamsError: no YAML, too long, or with merge keys.
    """
    longest = max(map(len, text.splitlines()), default=0)
    for length, most in ((len(text), _MAX_LENGTH), (longest, _MAX_LINE)):
        if length > most:
            raise ParamsError.too_long(source, length, most)
    try:
        with warnings.catch_warnings(action="ignore"):  # of anchors; DVC shows them, too
            line = _merge_line(YAML(typ="safe").compose(text))
            if not line:
                return YAML(typ="safe").load(text)
    except Exception as error:  # the reader has its own, and what it meets: ValueError, ...
        raise ParamsError.not_yaml(source, error) from None
    raise ParamsError.merge_key(source, line)


def _merge_line(root: Node | None) -> int:
    """Return the first line that merges one mapping into another, or 0.

    To read them takes twice as long with each line that merges the one before it twice.
    """
    lines, seen, nodes = [], set(), [root]
    while nodes:
        node = nodes.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.tag == "tag:yaml.org,2002:merge":
            lines.append(node.start_mark.line + 1)
        if isinstance(node, MappingNode):
            nodes += [part for pair in node.value for part in pair]
        elif isinstance(node, SequenceNode):
            nodes += node.value
    return min(lines, default=0)


def _explain(item: Any, source: str) -> ParamsError:
    """Return the error for what pydantic found: the key, the value, what is allowed."""
    key = ".".join(map(str, item["loc"])) or "the file"
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
