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
from pydantic import AfterValidator, Field
from ruamel.yaml import YAML

from mnist_lstm.plumbing.errors import ParamsError, one_line

Count = Annotated[int, Field(ge=1, le=65536)]
Size = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
# Above that, PyTorch's float32 has no room for it.
Rate = Annotated[float, Field(gt=0, lt=1e37)]
Amount = Annotated[float, Field(ge=0, lt=1e37)]
Degrees = Annotated[float, Field(ge=0, le=180)]
Part = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, lt=1)]

_MODELS = Path(__file__).parent.parent / "models"
_NO_MODELS = ("__init__", "base", "explanation", "gates", "store")


def _known_model(name: str) -> str:
    known = sorted(p.stem for p in _MODELS.glob("*.py") if p.stem not in _NO_MODELS)
    if name not in known:
        raise ValueError(f"a file in src/mnist_lstm/models ({', '.join(known)})")
    return name


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False
    )


class DataParams(_Section):
    """Which data set."""

    name: Literal[
        "mnist", "fashion_mnist", "kmnist", "emnist", "qmnist", "usps", "digits", "own"
    ]


class PrepareParams(_Section):
    """How the train examples are split, and how own data become tensors."""

    valid_size: Size
    valid_split: Literal["random", "last", "group"]
    test_size: Part
    seed: Seed
    missing: Literal["refuse", "mean"]
    picture: Literal["mnist", "scale"]
    height: Count
    width: Count


class ModelParams(_Section):
    """The model: its file, sizes (input Q, hidden D, classes, layers K), first weights."""

    name: Annotated[str, AfterValidator(_known_model)]
    xdim: Count
    hdim: Count
    ydim: Count
    n_layer: Count
    dropout: Share
    init: Literal["pytorch", "keras"]
    n_head: Count


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
    keep: Literal["last", "best"]
    seed: Seed
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "fp32", "bf16"]


class AugmentParams(_Section):
    """How far train examples are distorted at random, at most."""

    rotation: Degrees
    scale: Share
    shear: Amount
    shift: Share
    elastic: Amount
    noise: Amount
    fade: Share


class PlotParams(_Section):
    """Which images the figures show."""

    n_sample: Annotated[int, Field(ge=1, le=100)]
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
    if not path.exists():
        raise ParamsError(f"{path}: no such file; run this from the project's root")
    text = path.read_text(encoding="utf-8", errors="replace")
    return check_params(parse_yaml(text, path), str(path))


def check_params(values: object, source: str) -> Params:
    """Return ``values``, as read from ``source``, typed; ParamsError as above."""
    try:
        return Params.model_validate(values)
    except pydantic.ValidationError as error:
        raise ParamsError(*(_explain(item, source) for item in error.errors())) from None


def parse_yaml(text: str, source: object) -> object:
    """Read ``text`` with DVC's own reader: to it, ``020`` is 20; to another it is 16."""
    try:
        return YAML(typ="safe").load(text)
    except Exception as error:  # the reader has its own, and what it meets: ValueError, ...
        raise ParamsError(f"{source}: not YAML: {one_line(error)}") from None


def _explain(item: Any, source: str) -> str:
    """Return a line for what pydantic found: the key, the value, what is allowed."""
    key = ".".join(map(str, item["loc"])) or "the file"
    if item["type"] == "missing":
        return f"{source}: {key} is missing"
    got = reprlib.repr(item["input"])
    if item["type"] in ("extra_forbidden", "invalid_key"):
        sections = Params.__annotations__.items()
        known = [f"{name}.{leaf}" for name, s in sections for leaf in s.model_fields]
        near = difflib.get_close_matches(key, known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"{source}: {key} is not a parameter, got {got}{hint}"
    allowed = re.sub("^(Input should be|Value error,) ", "", item["msg"])
    if item["type"] == "model_type":
        allowed = "a mapping"
    return f"{source}: {key} must be {allowed}, got {got}"
