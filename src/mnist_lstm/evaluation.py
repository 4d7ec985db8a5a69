"""What a trained classifier is worth: its logits over a split, and figures from them."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mnist_lstm.tensors import Split

# The fastest of what was tried on a CPU, see benchmarks/README.md; on CUDA: not measured.
_BATCH = {"cpu": 512, "cuda": 4096}


class Score(NamedTuple):
    """How well logits fit labels."""

    loss: float  # mean cross-entropy, in nats
    accuracy: float  # in [0, 1]


def logits(model: nn.Module, split: Split) -> Tensor:
    """Return the model's logits [N x ydim] for each image of ``split``, in its order."""
    return torch.cat(list(logits_by_batch(model, split)))


@torch.inference_mode()
def logits_by_batch(model: nn.Module, split: Split, done: int = 0) -> Iterator[Tensor]:
    """Yield the logits [B x ydim] by batch, but for the first ``done`` images."""
    model.eval()
    for x, _ in split.batches(_BATCH[split.images.device.type], start=done):
        yield model(x)


def score(logits: Tensor, labels: Tensor) -> Score:
    """Compare ``logits`` [N x ydim] with ``labels`` int64 [N]."""
    correct = logits.argmax(1) == labels
    return Score(
        loss=cross_entropy(logits.double(), labels).item(),
        accuracy=correct.double().mean().item(),
    )


def report(logits: Tensor, split: Split) -> dict:
    """Return loss, accuracy and, by class, the accuracy on its images (if it has any)."""
    correct = (logits.argmax(1) == split.labels).double()
    by_class = {
        str(label): correct[split.labels == label].mean().item()
        for label in split.labels.unique().tolist()
    }
    return score(logits, split.labels)._asdict() | {"accuracy_by_class": by_class}


def predictions(logits: Tensor, split: Split) -> dict[str, list]:
    """Return columns: index, label, prediction, and the probability of the prediction."""
    probability, prediction = logits.softmax(1).max(1)
    return {
        "index": list(range(len(split))),
        "label": split.labels.tolist(),
        "prediction": prediction.tolist(),
        "probability": probability.tolist(),
    }
