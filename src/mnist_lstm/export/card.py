"""The model card: what the model is, what it is worth, how to load it.

Its text is in ``card.md.jinja``, in the form that Hugging Face reads: YAML, then Markdown.
All figures come from parameters, metrics and data, so that they cannot go stale; it holds
no time, path or host.
Hugging Face has no task for the classification of sequences, so theirs is "other".
Form: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
Tasks: https://github.com/huggingface/huggingface.js/blob/main/packages/tasks/src/pipelines.ts
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml
from jinja2 import Environment, StrictUndefined

from mnist_lstm.plumbing.params import AugmentParams, ModelParams, TrainParams

_N_WORST = 3  # classes, and pairs of classes


class DataSet(NamedTuple):
    """What the card says about a data set."""

    title: str
    what: str
    license: str = ""
    hub: str = ""  # its name at Hugging Face


_DATA = {
    "mnist": DataSet("MNIST", "handwritten digits, white on black", hub="ylecun/mnist"),
    "fashion_mnist": DataSet(
        "Fashion-MNIST",
        "photos of clothing, light on black",
        "MIT",
        "zalando-datasets/fashion_mnist",
    ),
    "kmnist": DataSet(
        "KMNIST", "cursive Japanese characters, white on black", "CC BY-SA 4.0"
    ),
    "emnist": DataSet("EMNIST", "handwritten digits and letters, white on black"),
    "qmnist": DataSet("QMNIST", "handwritten digits, white on black"),
    "usps": DataSet("USPS", "digits from envelopes, white on black"),
    "digits": DataSet(
        "scikit-learn's digits", "small handwritten digits, white on black", "CC BY 4.0"
    ),
}
_SPLITS = {
    "train": "what it has learnt from",
    "valid": "held out, to choose parameters by",
    "test": "held out, for the final figure",
}


class Facts(NamedTuple):
    """What a card is about."""

    data: str  # the data set, as data.name has it
    model: ModelParams
    called: str  # what the model is, with its article
    is_lstm: bool  # and a linear layer
    kept: int | None  # the epoch of its weights, None for the last
    train: TrainParams
    augment: AugmentParams
    picture: str  # how a picture of one's own becomes an image, as prepare.picture says
    n_parameter: int
    shape: tuple[int, int]  # of an image, or of the longest train sequence: L, Q
    classes: Sequence[str]  # their names
    n_image: dict[str, int]  # by split: train, valid if there is one, test
    metrics: dict[str, dict[str, float]]  # by split: accuracy, loss
    predictions: pd.DataFrame  # a test example a row: actual, predicted, probability
    steps: tuple[int, int] | None = None  # of sequences: the fewest and the most
    scaling: Mapping[str, Any] = {}  # of sequences, as in a Split


def model_card(facts: Facts) -> str:
    """Return the card as Markdown with a head in YAML."""
    table = facts.predictions
    wrong = table[table.actual != table.predicted]
    sure = table[table.probability >= 0.9]
    worst_classes, worst_pairs = _worst(table, wrong)
    thing, step = ("sequence", "step") if facts.steps else ("image", "row")
    own = DataSet(f"own {thing}s", f"{thing}s of one's own")
    fewest, most = facts.steps or facts.shape[:1] * 2
    steps = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return _TEMPLATE.render(
        **facts._asdict(),
        about=_DATA.get(facts.data, own),
        thing=thing,
        step=step,
        each=f"{steps} steps of {facts.shape[1]:,} value{'s' * (facts.shape[1] > 1)}",
        own=facts.data not in _DATA,
        length=facts.shape[0],
        q=facts.shape[1],
        counts=", ".join(f"{n:,} ({split})" for split, n in facts.n_image.items()),
        epoch_size=min(facts.train.epoch_size or math.inf, facts.n_image["train"]),
        params={
            "model": facts.model.model_dump(),
            "train": facts.train.model_dump(exclude={"device"}),
            "augment": facts.augment.model_dump(),
        },
        what=_SPLITS,
        n_wrong=len(wrong),
        interval=_interval(len(wrong), len(table)),
        worst_classes=worst_classes,
        worst_pairs=worst_pairs,
        n_sure=len(sure),
        n_sure_wrong=int((sure.actual != sure.predicted).sum()),
    )


def _worst(table: pd.DataFrame, wrong: pd.DataFrame) -> tuple[str, str]:
    """Return which classes and which pairs of them are the hardest."""
    right = (table.actual == table.predicted).groupby(table.actual).mean()
    classes = [
        f"{_escaped(name)} ({accuracy:.1%})"
        for name, accuracy in right.sort_values(kind="stable")[:_N_WORST].items()
    ]
    counts = wrong.groupby(["actual", "predicted"]).size()
    pairs = [
        f"{_escaped(actual)} for {_escaped(predicted)} ({count:,})"
        for (actual, predicted), count in counts.sort_values(
            ascending=False, kind="stable"
        )[:_N_WORST].items()
    ]
    return ", ".join(classes), ", ".join(pairs)


def _interval(n_wrong: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's interval of an accuracy; unlike the usual one, it holds at 100%, too.

    Source: https://doi.org/10.1080/01621459.1927.10502953
    """
    p = 1 - n_wrong / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return middle - half, middle + half


def _escaped(name: object) -> str:
    """Return a name as Markdown shows it."""
    return re.sub(r"([\\`*_{}\[\]<>|#&~$])", r"\\\1", str(name))


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False).removesuffix("...\n").rstrip()


_JINJA = Environment(
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=StrictUndefined,
)
_JINJA.filters |= {"escaped": _escaped, "yaml": _yaml}
_TEMPLATE = _JINJA.from_string(
    Path(__file__).with_name("card.md.jinja").read_text(encoding="utf-8")
)
