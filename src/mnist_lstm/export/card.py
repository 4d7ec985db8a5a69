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
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import yaml
from jinja2 import Environment, StrictUndefined

from mnist_lstm.data.splits import Split
from mnist_lstm.models.base import Model
from mnist_lstm.plumbing.params import AugmentParams, TrainParams

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


def model_card(
    data: str,
    train: TrainParams,
    augment: AugmentParams,
    model: Model,
    splits: dict[str, Split],
    metrics: dict[str, dict[str, float]],
    predictions: pd.DataFrame,
) -> str:
    """Return the card as Markdown with a head in YAML.

    ``data`` is the data set, as data.name has it; ``splits`` are train, valid if there is
    one, and test, ``metrics`` their accuracy and loss; ``predictions`` have a row a test
    example: actual, predicted, probability.
    """
    test, table, sizes = splits["test"], predictions, model.params
    wrong = table[table.actual != table.predicted]
    sure = table[table.probability >= 0.9]
    thing, step = ("image", "row") if test.is_images else ("sequence", "step")
    lengths = [n for split in splits.values() for n in split.steps()]
    fewest, most, q = min(lengths), max(lengths), test.x.shape[2]
    steps = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    n_image = {name: len(split) for name, split in splits.items()}
    about = _DATA.get(data, DataSet(f"own {thing}s", f"{thing}s of one's own"))
    kind = "image" if test.is_images else "time-series"
    return _TEMPLATE.render(
        sizes=sizes,
        train=train,
        model=model,
        test=test,
        metrics=metrics,
        data=data,
        about=about,
        head=_head(data, about, sizes.name, kind, metrics),
        own=data not in _DATA,
        sequences=not test.is_images,
        thing=thing,
        step=step,
        each=f"{steps} steps of {q:,} value{'s' * (q > 1)}",
        length=model.reads.length,
        q=q,
        n_parameter=sum(values.numel() for values in model.parameters()),
        n_image=n_image,
        counts=", ".join(f"{n:,} ({name})" for name, n in n_image.items()),
        epoch_size=min(train.epoch_size or math.inf, n_image["train"]),
        params={
            "model": sizes.model_dump(),
            "train": train.model_dump(exclude={"device"}),
            "augment": augment.model_dump(),
        },
        what=_SPLITS,
        n_wrong=len(wrong),
        interval=_interval(len(wrong), len(table)),
        worst=_worst(table, wrong),
        n_sure=len(sure),
        n_sure_wrong=int((sure.actual != sure.predicted).sum()),
    )


def _head(data: str, about: DataSet, name: str, kind: str, metrics: dict) -> dict:
    """Return what Hugging Face reads; ``kind`` of task: image or time-series."""
    title = kind.capitalize().replace("-", " ")
    results = [
        {
            "task": {"type": f"{kind}-classification", "name": f"{title} classification"},
            "dataset": {
                "type": about.hub or data,
                "name": about.title,
                "split": "validation" if split == "valid" else split,
            },
            "metrics": [
                {"type": key, "name": key.capitalize(), "value": found[key]}
                for key in ("accuracy", "loss")
            ],
        }
        for split, found in metrics.items()
        if split != "train"  # only what is held out counts as a result
    ]
    series = ["time-series", "time-series-classification"] if kind != "image" else []
    return {
        "license": "mit" if data in _DATA else "unknown",
        **({"datasets": [about.hub]} if about.hub else {}),
        "library_name": "pytorch",
        "pipeline_tag": "other" if series else "image-classification",
        "tags": [name, data, *series, "safetensors", "onnx", "dvc"],
        "metrics": ["accuracy"],
        "model-index": [{"name": "mnist-lstm", "results": results}],
    }


def _worst(table: pd.DataFrame, wrong: pd.DataFrame) -> tuple[str, str]:
    """Return which classes and which pairs of them are the hardest."""
    right = (table.actual == table.predicted).groupby(table.actual).mean()
    right = right.sort_values(kind="stable")[:_N_WORST]
    pairs = wrong.groupby(["actual", "predicted"]).size()
    pairs = pairs.sort_values(ascending=False, kind="stable")[:_N_WORST]
    of_two = (f"{_escaped(a)} for {_escaped(p)} ({n:,})" for (a, p), n in pairs.items())
    of_one = (f"{_escaped(name)} ({share:.1%})" for name, share in right.items())
    return ", ".join(of_one), ", ".join(of_two)


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
