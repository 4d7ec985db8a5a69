"""What a classifier is worth: its logits over a split, their loss and accuracy."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mnist_lstm.data.splits import Split

# The fastest of what was tried on a CPU, see benchmarks/LOG.md; on CUDA: not measured.
_BATCH = {"cpu": 512, "cuda": 4096}


class Score(NamedTuple):
    """How well logits fit labels."""

    loss: float  # mean cross-entropy, in nats
    accuracy: float  # in [0, 1]


@torch.inference_mode()
def compute_logits(model: nn.Module, split: Split) -> Tensor:
    """Return the model's logits [N x ydim] for each example of ``split``, in its order."""
    model.eval()
    batches = split.batches(batch_size(split))
    return torch.cat([model(x, *lengths) for x, _, *lengths in batches])


def batch_size(split: Split) -> int:
    """Return how many examples are evaluated at a time, where ``split`` lies."""
    return _BATCH[split.x.device.type]


def score(logits: Tensor, labels: Tensor) -> Score:
    """Compare ``logits`` [N x ydim] with ``labels`` int64 [N]."""
    # Not cross_entropy: on CUDA, a single block of threads would sum its mean.
    found = logits.double().log_softmax(1).gather(1, labels.unsqueeze(1))
    correct = logits.argmax(1) == labels
    loss, accuracy = torch.stack([-found.mean(), correct.double().mean()]).tolist()
    return Score(loss, accuracy)
