"""Prepared splits: saved, loaded, and handed out in batches on the device."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mnist_lstm.plumbing.errors import ParamsError, SplitError
from mnist_lstm.plumbing.params import ModelParams
from mnist_lstm.tensorfile import load_tensors, save_tensors


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
            chunk = slice(first, first + size)
            pick = chunk if order is None else order[chunk]
            yield to_input(self.images[pick]), self.labels[pick]


def to_input(images: Tensor) -> Tensor:
    """Return uint8 images [N x L x Q] as what the model reads: float32 in [0, 1]."""
    return images.float() / 255


def save_split(split: Split, path: Path) -> None:
    """Write ``split`` to ``path``, labels as uint8."""
    tensors = {"images": split.images, "labels": split.labels.byte()}
    save_tensors(path, tensors, {"n_class": split.n_class})


def load_split(
    path: Path, params: ModelParams, device: torch.device | str = "cpu"
) -> Split:
    """Read a split from ``path`` onto ``device``, for a model of ``params``.

    Raises:
        TensorFileError: no such file, or damaged.
        SplitError: not the tensors that :func:`save_split` writes.
        ParamsError: the model cannot read these images or tell these classes.
    """
    tensors, metadata = load_tensors(path, writer="prepare")
    n_class = metadata.get("n_class")
    if type(n_class) is not int or not _is_split(tensors, n_class):
        found = {name: (v.dtype, list(v.shape)) for name, v in tensors.items()}
        raise SplitError.of(path, found, n_class)
    split = Split(tensors["images"], tensors["labels"].long(), n_class)
    q = split.images.shape[2]
    if params.xdim != q:
        raise ParamsError.width(q, path, params.xdim)
    if params.ydim != n_class:
        raise ParamsError.classes(n_class, path, params.ydim)
    return split.to(torch.device(device))


def _is_split(tensors: dict[str, Tensor], n_class: int) -> bool:
    """Say whether these are uint8 images [N x L x Q], none empty, and their labels [N]."""
    if tensors.keys() != {"images", "labels"}:
        return False
    images, labels = tensors["images"], tensors["labels"]
    return (
        images.dtype == labels.dtype == torch.uint8
        and images.dim() == 3
        and labels.shape == images.shape[:1]
        and images.numel() > 0
        and int(labels.max()) < n_class
    )
