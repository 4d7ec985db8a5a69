"""Prepared splits: saved, loaded, and handed out in batches on the device."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from mnist_lstm.plumbing.errors import ParamsError
from mnist_lstm.plumbing.params import ModelParams
from mnist_lstm.tensorfile import load_tensors, save_tensors


@dataclass(frozen=True)
class Split:
    """N labelled images, each read as L steps of Q values."""

    images: Tensor  # uint8 [N x L x Q]
    labels: Tensor  # int64 [N] as loaded; each is the place of its name in `classes`
    classes: tuple[str, ...]  # names, no two the same
    picture: str = "mnist"  # how a picture becomes such an image, as prepare.picture says
    greys: Mapping[str, Sequence[float]] = field(default_factory=dict)  # see decoding.Greys

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        """Return the split on ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def take(self, indices: Tensor) -> "Split":
        """Return the images and labels at ``indices`` (int64 [M])."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def names(self, labels: Tensor) -> list[str]:
        """Return the name of the class of each of ``labels`` (int64 [M], on any device)."""
        return [self.classes[label] for label in labels.tolist()]

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


def split_paths(folder: Path) -> dict[str, Path]:
    """Return the file of each split in ``folder``; ``valid`` only where it was held out."""
    paths = {name: folder / f"{name}.safetensors" for name in ("train", "valid", "test")}
    if not paths["valid"].exists():
        del paths["valid"]
    return paths


def save_split(split: Split, path: Path) -> None:
    """Write ``split`` to ``path``, labels in as few bytes as they need."""
    few = len(split.classes) <= 256
    labels = split.labels.to(torch.uint8 if few else torch.int16)
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
        ParamsError: the model cannot read these images or tell these classes.
    """
    tensors, metadata = load_tensors(path, writer="prepare")
    split = Split(
        tensors["images"],
        tensors["labels"].long(),
        tuple(metadata["classes"]),
        metadata["picture"],
        metadata.get("greys", {}),
    )
    q, n_class = split.images.shape[2], len(split.classes)
    misfits = []
    if params.xdim != q:
        fits = f"{q}, the width of the images in {path}"
        misfits.append(ParamsError.of("model.xdim", fits, params.xdim))
    if params.ydim != n_class:
        fits = f"{n_class}, the number of classes in {path}"
        misfits.append(ParamsError.of("model.ydim", fits, params.ydim))
    if misfits:
        raise ParamsError(*map(str, misfits))
    return split.to(torch.device(device))
