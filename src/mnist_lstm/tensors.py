"""Prepared splits: saved, loaded, and handed out in batches on the device."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mnist_lstm import tensorfile
from mnist_lstm.errors import UserError
from mnist_lstm.params import ModelParams, misfit


class SplitError(UserError):
    """A file whose tensors are no prepared split; names the file and what it holds."""


@dataclass(frozen=True)
class Split:
    """N labelled images, each read as L steps of Q values."""

    images: Tensor  # uint8 [N x L x Q]
    labels: Tensor  # int64 [N] as loaded, uint8 before it is saved; each in [0, n_class)
    n_class: int

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        """Return the split on ``device``."""
        return Split(self.images.to(device), self.labels.to(device), self.n_class)

    def take(self, indices: Tensor) -> "Split":
        """Return the images and labels at ``indices`` (int64 [M])."""
        return Split(self.images[indices], self.labels[indices], self.n_class)

    def batches(
        self, size: int, order: Tensor | None = None, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of ``size`` (the last may be smaller) without leaving the device.

        Args:
            size: B, images in a batch.
            order: int64 [N], the order of the images; as they lie where it is None.
            start: how many images to leave out, of the first in that order.

        Yields:
            x: float32 [B x L x Q] in [0, 1], and y: int64 [B].
        """
        if order is not None:
            order = order.to(self.images.device)
        for first in range(start, len(self), size):
            pick = slice(first, first + size)
            if order is not None:
                pick = order[pick]
            yield to_input(self.images[pick]), self.labels[pick]


def to_input(images: Tensor) -> Tensor:
    """Return uint8 images [N x L x Q] as what the model reads: float32 in [0, 1]."""
    return images.float() / 255


def save(split: Split, path: Path) -> None:
    """Write ``split`` to ``path``, labels as uint8."""
    tensors = {"images": split.images, "labels": split.labels.byte()}
    tensorfile.save(path, tensors, {"n_class": split.n_class})


def load(path: Path, device: torch.device | str = "cpu") -> Split:
    """Read a split from ``path`` onto ``device``.

    Raises:
        TensorFileError: no such file, or damaged.
        SplitError: not the tensors that :func:`save` writes.
    """
    tensors, about = tensorfile.load(path, writer="prepare")
    found = {name: (v.dtype, list(v.shape)) for name, v in tensors.items()}
    n_class = about.get("n_class")
    match found:
        case {
            "images": (torch.uint8, [n, length, q]),
            "labels": (torch.uint8, [m]),
        } if (
            n == m > 0 < length * q
            and type(n_class) is int
            and tensors["labels"].max() < n_class
        ):
            split = Split(tensors["images"], tensors["labels"].long(), n_class)
            return split.to(torch.device(device))
    raise SplitError(
        f"{path}: no prepared split: found {found} and n_class {n_class}, expected "
        "images uint8 [N x L x Q] and labels uint8 [N], each below n_class"
    )


def check_fit(split: Split, params: ModelParams, path: Path) -> None:
    """Refuse a model that cannot read the images or tell the classes of ``split``.

    Raises:
        ParamsError: names ``model.xdim`` or ``model.ydim``, what fits, and ``path``.
    """
    q = split.images.shape[2]
    if params.xdim != q:
        raise misfit("model.xdim", f"{q}, the width of the images in {path}", params.xdim)
    if params.ydim != split.n_class:
        fits = f"{split.n_class}, the number of classes in {path}"
        raise misfit("model.ydim", fits, params.ydim)
