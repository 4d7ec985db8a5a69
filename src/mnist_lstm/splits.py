"""Prepared splits: saved, loaded, and handed out in batches on the device."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from mnist_lstm.plumbing.errors import ParamsError, SplitError
from mnist_lstm.plumbing.metadata import are_classes, is_picture
from mnist_lstm.plumbing.params import ModelParams
from mnist_lstm.tensorfile import load_tensors, save_tensors


@dataclass(frozen=True)
class Split:
    """N labelled images, each read as L steps of Q values."""

    images: Tensor  # uint8 [N x L x Q]
    labels: Tensor  # int64 [N] as loaded; each is the place of its name in `classes`
    classes: tuple[str, ...]  # names, no two the same
    picture: str = "mnist"  # how a picture becomes such an image, as prepare.picture says
    greys: Mapping[str, Sequence[float]] = field(default_factory=dict)  # see picture.Greys

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        """Return the split on ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def take(self, indices: Tensor) -> "Split":
        """Return the images and labels at ``indices`` (int64 [M])."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def batches(
        self, size: int, order: Tensor | None = None, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of ``size`` (the last may be smaller) without leaving the device.

        Args:
            size: B, images in a batch.
            order: int64 [M], which images, in which order; None: all, as they lie.
            start: how many images to leave out, of the first in that order.

        Yields:
            x: float32 [B x L x Q] in [0, 1], and y: int64 [B].
        """
        if order is not None:
            order = order.to(self.images.device)
        for first in range(start, len(self if order is None else order), size):
            chunk = slice(first, first + size)
            pick = chunk if order is None else order[chunk]
            yield to_input(self.images[pick]), self.labels[pick]


def to_input(images: Tensor) -> Tensor:
    """Return uint8 images [N x L x Q] as what the model reads: float32 in [0, 1]."""
    return images.float() / 255


def save_split(split: Split, path: Path) -> None:
    """Write ``split`` to ``path``, labels in as few bytes as they need."""
    labels = split.labels.to(_label_type(split.classes))
    tensors = {"images": split.images, "labels": labels}
    metadata: dict = {"classes": split.classes, "picture": split.picture}
    if split.greys:
        metadata["greys"] = split.greys
    save_tensors(path, tensors, metadata)


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
    classes, picture = metadata.get("classes"), metadata.get("picture")
    if not are_classes(classes) or not _is_split(tensors, classes):
        found = {name: (v.dtype, list(v.shape)) for name, v in tensors.items()}
        raise SplitError.of(path, found, classes)
    if not is_picture(picture):
        raise SplitError.picture(path, picture)
    split = Split(
        tensors["images"],
        tensors["labels"].long(),
        tuple(classes),
        picture,
        metadata.get("greys", {}),
    )
    misfits = []
    if params.xdim != (q := split.images.shape[2]):
        misfits.append(ParamsError.width(q, path, params.xdim))
    if params.ydim != (n_class := len(classes)):
        misfits.append(ParamsError.classes(n_class, path, params.ydim))
    if misfits:
        raise ParamsError(*map(str, misfits))
    return split.to(torch.device(device))


def _label_type(classes: Sequence[str]) -> torch.dtype:
    return torch.uint8 if len(classes) <= 256 else torch.int16


def _is_split(tensors: dict[str, Tensor], classes: Sequence[str]) -> bool:
    """Say whether these are uint8 images [N x L x Q], none empty, and their labels [N]."""
    if tensors.keys() != {"images", "labels"}:
        return False
    images, labels = tensors["images"], tensors["labels"]
    return (
        images.dtype == torch.uint8
        and labels.dtype == _label_type(classes)
        and images.dim() == 3
        and labels.shape == images.shape[:1]
        and images.numel() > 0
        and 0 <= int(labels.min()) <= int(labels.max()) < len(classes)
    )
