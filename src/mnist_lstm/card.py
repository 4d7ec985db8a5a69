"""The model card: what the model is, what it is worth, how to load it.

In the form that Hugging Face reads: YAML, then Markdown. All of it comes from parameters,
metrics and data, so that it cannot go stale; it holds no time, path or host.
Form: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
import yaml

from mnist_lstm.plumbing.metadata import is_name
from mnist_lstm.plumbing.params import (
    AugmentParams,
    ModelParams,
    TrainParams,
)

_N_WORST = 3  # classes, and pairs of classes
_N_NAMED = 30  # classes that are listed
_SURE = 0.9  # a probability


class DataSet(NamedTuple):
    """What the card says about a data set."""

    title: str
    what: str
    license: str = ""
    hub: str = ""  # its name at Hugging Face


_OWN = DataSet("own images", "images of one's own")
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
    train: TrainParams
    augment: AugmentParams
    picture: str  # how a picture of one's own becomes an image, as prepare.picture says
    shape: tuple[int, int]  # of an image: L, Q
    classes: Sequence[str]  # their names
    n_image: dict[str, int]  # by split: train, valid if there is one, test
    metrics: dict[str, dict[str, float]]  # by split: accuracy, loss
    predictions: pd.DataFrame  # a test image a row: actual, predicted, probability


def model_card(facts: Facts) -> str:
    """Return the card as Markdown with a head in YAML."""
    head = yaml.safe_dump(_head(facts), sort_keys=False, allow_unicode=True)
    parts = [_intended_use, _data, _training, _results, _limits, _loading]
    return f"---\n{head}---\n\n" + "\n\n".join(part(facts).strip() for part in parts) + "\n"


def _head(facts: Facts) -> dict[str, Any]:
    """Return what Hugging Face's site reads; only what is held out counts as a result."""
    data = _DATA.get(facts.data, _OWN)
    results = [
        {
            "task": {"type": "image-classification", "name": "Image classification"},
            "dataset": {
                "type": data.hub or facts.data,
                "name": data.title,
                "split": {"valid": "validation"}.get(split, split),
            },
            "metrics": [
                {"type": name, "name": name.capitalize(), "value": found[name]}
                for name in ("accuracy", "loss")
            ],
        }
        for split, found in facts.metrics.items()
        if split != "train"
    ]
    head: dict[str, Any] = {"license": "unknown" if data is _OWN else "mit"}
    if data.hub:
        head["datasets"] = [data.hub]
    return head | {
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["lstm", facts.data, "safetensors", "onnx", "dvc"],
        "metrics": ["accuracy"],
        "model-index": [{"name": "mnist-lstm", "results": results}],
    }


def _intended_use(facts: Facts) -> str:
    model = facts.model
    length, q = facts.shape
    layers = "one layer" if model.n_layer == 1 else f"{model.n_layer} layers"
    use = "It is for images like those that it was trained on, prepared in the same way."
    if facts.data in _DATA:
        use = (
            "It is for learning, for teaching, and for trying out a pipeline. To classify "
            "images for a purpose, use a convolutional network."
        )
    return f"""
# {_DATA.get(facts.data, _OWN).title}, read row by row by an LSTM

An LSTM reads an image of {length}x{q} pixels as {length} steps of {q} values, and a
linear layer classifies it by the last step's output: {layers} of {model.hdim} hidden
units, {model.ydim} classes, {_n_parameter(model):,} parameters in float32.

## Intended use

{use}
"""


def _data(facts: Facts) -> str:
    data = _DATA.get(facts.data, _OWN)
    license = f" License: {data.license}." if data.license else ""
    counts = ", ".join(f"{n:,} ({split})" for split, n in facts.n_image.items())
    own = ""
    if data is _OWN:
        own = f" A picture becomes such an image by `prepare.picture: {facts.picture}`."
    names = ", ".join(_escaped(name) for name in facts.classes[:_N_NAMED])
    more = len(facts.classes) - _N_NAMED
    return f"""
## Data

{data.title} (`data.name: {facts.data}`): {data.what}.{license} Images: {counts}.
Each pixel is a byte, divided by 255.{own}

The classes, in the order of the logits: {names}{f" and {more} more" if more > 0 else ""}.
"""


def _training(facts: Facts) -> str:
    shown = {
        "model": facts.model.model_dump(),
        "train": facts.train.model_dump(exclude={"device"}),
        "augment": facts.augment.model_dump(),
    }
    size = min(facts.train.epoch_size or math.inf, facts.n_image["train"])
    return f"""
## Training

Epochs: {facts.train.epochs}, of {size:,} images of the train split, in batches of
{facts.train.batch_size}, by cross-entropy. The weights are those of the last epoch, not of
the best one. The parameters, as in `params.yaml`:

```yaml
{yaml.safe_dump(shown, sort_keys=False).strip()}
```
"""


def _results(facts: Facts) -> str:
    rows = "\n".join(
        f"| {split} | {n:,} | {facts.metrics[split]['accuracy']:.2%} "
        f"| {facts.metrics[split]['loss']:.4f} | {_SPLITS[split]} |"
        for split, n in facts.n_image.items()
    )
    table = facts.predictions
    wrong = table[table.actual != table.predicted]
    low, high = _interval(len(wrong), len(table))
    chosen = (
        "There was no validation split: training showed the accuracy on the test split "
        "after each epoch. Where parameters were chosen by it, it promises too much."
    )
    if "valid" in facts.n_image:
        chosen = "Training watched the validation split and did not read the test split."
    return f"""
## Results

| split | images | accuracy | loss (nats) | |
|---|---|---|---|---|
{rows}

On the test split {len(wrong):,} of {len(table):,} images are wrong. For more images of the
same kind, expect an accuracy between {low:.2%} and {high:.2%} (95%, Wilson's interval);
how much training varies from seed to seed is not in it. {chosen}

{_worst(table, wrong)}
"""


def _worst(table: pd.DataFrame, wrong: pd.DataFrame) -> str:
    """Say which classes and which pairs are the hardest; nothing where all is right."""
    if wrong.empty:
        return ""
    right = (table.actual == table.predicted).groupby(table.actual).mean()
    worst = right.sort_values(kind="stable")[:_N_WORST]
    classes = [f"{_escaped(name)} ({accuracy:.1%})" for name, accuracy in worst.items()]
    counts = wrong.groupby(["actual", "predicted"]).size()
    pairs = [
        f"{_escaped(actual)} for {_escaped(predicted)} ({count:,})"
        for (actual, predicted), count in counts.sort_values(
            ascending=False, kind="stable"
        )[:_N_WORST].items()
    ]
    return (
        f"The lowest accuracies by class on the test split: {', '.join(classes)}. "
        f"What it mistakes most often for what: {', '.join(pairs)}."
    )


def _limits(facts: Facts) -> str:
    length, q = facts.shape
    table = facts.predictions
    sure = table[table.probability >= _SURE]
    n_wrong = int((sure.actual != sure.predicted).sum())
    return f"""
## Limits

- It answers with one of its {len(facts.classes)} classes, whatever it is shown.
- It knows images that were prepared as those it learnt from: grey, {length}x{q}, the same
  polarity, what they show at the same place and in the same size.
- Its probabilities are not calibrated: of the {len(sure):,} test images to whose class it
  gives {_SURE:.0%} or more, {n_wrong:,} are wrong.
- It is one run with one seed. Nobody has tested it for bias.
"""


def _loading(facts: Facts) -> str:
    model = facts.model
    length, q = facts.shape
    return f"""
## How to load it

With PyTorch, in the folder of this file:

```python
import torch
from safetensors.torch import load_file

rnn = torch.nn.LSTM({model.xdim}, {model.hdim}, {model.n_layer}, batch_first=True)
lin = torch.nn.Linear({model.hdim}, {model.ydim})
model = torch.nn.ModuleDict({{"rnn": rnn, "lin": lin}})
model.load_state_dict(load_file("model.safetensors"))

images = torch.zeros(1, {length}, {q}, dtype=torch.uint8)  # yours
with torch.inference_mode():
    rnn_out, _ = rnn(images / 255)
    logits = lin(rnn_out[:, -1])
print(logits.softmax(1).max(1))  # the probability and the number of the class
```

With [ONNX Runtime](https://onnxruntime.ai), without PyTorch:

```python
import json

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
about = session.get_modelmeta().custom_metadata_map
classes = json.loads(about["classes"])
shape = 1, int(about["height"]), int(about["width"])  # N, L, Q

images = np.zeros(shape, dtype=np.uint8)  # yours
(logits,) = session.run(["logits"], {{"x": images.astype(np.float32) / 255}})
print([classes[i] for i in logits.argmax(1)])
```

N and L are free, from 1 on: ONNX Runtime aborts the process on an empty batch.

The pipeline that trained the model wrote this card, from its parameters and metrics.
"""


def _n_parameter(model: ModelParams) -> int:
    """Return how many numbers are learnt: four gates of two biases each, a linear layer."""
    inputs = [model.xdim] + [model.hdim] * (model.n_layer - 1)
    layers = (4 * model.hdim * (n + model.hdim + 2) for n in inputs)
    return sum(layers) + model.ydim * (model.hdim + 1)


def _interval(n_wrong: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's interval of an accuracy; unlike the usual one, it holds at 100%, too.

    Source: https://doi.org/10.1080/01621459.1927.10502953
    """
    p = 1 - n_wrong / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return middle - half, middle + half


def _escaped(name: object) -> str:
    """Return a name as Markdown shows it, in one line."""
    text = "".join(c if is_name(c) else "?" for c in str(name))
    return re.sub(r"([\\`*_{}\[\]<>|#&~$])", r"\\\1", text)
