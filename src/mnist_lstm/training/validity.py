"""Whether what a checkpoint holds is a state of a run: all of it, before anything changes.

Its checksum and key may be right, and its content from elsewhere.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from mnist_lstm.plumbing.params import TrainParams

_NUMBER = (int, float)


def are_of_form(expected: dict[str, Tensor], tensors: dict[str, Tensor]) -> bool:
    """Say whether ``tensors`` has every one of ``expected``, with usable values."""
    for name, values in expected.items():
        found = tensors.get(name)
        if found is None or (found.dtype, found.shape) != (values.dtype, values.shape):
            return False
        if name.startswith("generator.") and not _is_generator(name, found):
            return False
        if name.startswith("model.") and not found.isfinite().all():
            return False
    return True


def is_history(epoch: Any, history: Any, epochs: int) -> bool:
    """Say whether ``history`` has a row for each epoch before ``epoch``, from 0 on."""
    return (
        type(epoch) is int
        and 0 <= epoch <= epochs + 1
        and isinstance(history, list)
        and len(history) == epoch
        and all(_is_row(number, row) for number, row in enumerate(history))
    )


def is_within(
    epoch: int, tensors: dict[str, Tensor], logits: Iterable[str], ydim: int, p: TrainParams
) -> bool:
    """Say whether the epoch's order, losses and ``logits`` fit each other, and the run."""
    order, losses = tensors.get("order"), tensors.get("losses", torch.empty(0))
    found = [tensors[name] for name in logits if name in tensors]
    if not all(x.is_floating_point() and x.shape[1:] == (ydim,) for x in found):
        return False
    if order is None:  # not drawn yet; epoch 0 evaluates and has none
        return len(losses) == 0 and (epoch == 0 or not found)
    if not (1 <= epoch <= p.epochs and _is_order(order, p.epoch_size)):
        return False
    steps = math.ceil(len(order) / p.batch_size)
    return (
        _are_losses(losses) and len(losses) <= steps and (not found or len(losses) == steps)
    )


def _is_generator(name: str, state: Tensor) -> bool:
    try:
        torch.Generator("cuda" if name.endswith(".cuda") else "cpu").set_state(state)
    except RuntimeError:
        return False
    return True


def _is_row(number: int, row: Any) -> bool:
    return (
        isinstance(row, dict)
        and row.get("epoch") == number
        and all(type(value) in _NUMBER for value in row.values())
    )


def _is_order(order: Tensor, epoch_size: int) -> bool:
    """Say whether it has images once each: all of them, unless there is a size."""
    if order.dtype != torch.int64 or order.dim() != 1 or len(order) == 0:
        return False
    if order.min() < 0 or len(order.unique()) != len(order):
        return False
    return len(order) == epoch_size or int(order.max()) == len(order) - 1


def _are_losses(losses: Tensor) -> bool:
    return (
        losses.dim() == 1 and losses.is_floating_point() and bool(losses.isfinite().all())
    )
