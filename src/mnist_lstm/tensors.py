"""Prepared splits: saved, loaded, and handed out in batches on the device."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mnist_lstm import files
from mnist_lstm.errors import UserError


class SplitError(UserError):
    """A file of tensors that is missing, damaged or of another form; names the file."""


@dataclass(frozen=True)
class Split:
    """N labelled images, each read as L steps of Q values."""

    images: Tensor  # uint8 [N x L x Q]
    labels: Tensor  # int64 [N], each in [0, n_class)
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
        self, size: int, order: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of ``size`` (the last may be smaller) without leaving the device.

        Args:
            size: B, images in a batch.
            order: int64 [N], the order of the images; as they lie where it is None.

        Yields:
            x: float32 [B x L x Q] in [0, 1], and y: int64 [B].
        """
        if order is not None:
            order = order.to(self.images.device)
        for start in range(0, len(self), size):
            pick = slice(start, start + size)
            if order is not None:
                pick = order[pick]
            yield to_input(self.images[pick]), self.labels[pick]


def to_input(images: Tensor) -> Tensor:
    """Return uint8 images [N x L x Q] as what the model reads: float32 in [0, 1]."""
    return images.float() / 255


def save(split: Split, path: Path) -> None:
    """Write ``split`` to ``path`` as safetensors, labels as uint8."""
    tensors = {"images": split.images, "labels": split.labels.byte()}
    metadata = {"n_class": str(split.n_class)}
    files.write_bytes(path, safetensors.torch.save(tensors, metadata))


def load(path: Path, device: torch.device | str = "cpu") -> Split:
    """Read a split from ``path`` onto ``device``.

    Raises:
        SplitError: no such file, damaged, or not the tensors that :func:`save` writes.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            images, labels = file.get_tensor("images"), file.get_tensor("labels")
            n_class = int(file.metadata()["n_class"])
    except FileNotFoundError:
        raise SplitError(f"{path}: no such file; the stage `prepare` writes it") from None
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise SplitError(f"{path}: not a prepared split: {error}") from None
    fits = (
        images.dtype == labels.dtype == torch.uint8
        and images.ndim == 3
        and labels.shape == images.shape[:1]
    )
    if not fits:
        raise SplitError(
            f"{path}: images {images.dtype} {list(images.shape)} and labels "
            f"{labels.dtype} {list(labels.shape)}, expected uint8 [N x L x Q] and [N]"
        )
    return Split(images, labels.long(), n_class).to(torch.device(device))
