"""Prepared splits: saved, loaded, and handed out in batches on the device."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnist_lstm.plumbing.errors import ParamsError
from mnist_lstm.plumbing.params import ModelParams
from mnist_lstm.tensorfile import load_tensors, save_tensors


@dataclass(frozen=True)
class Split:
    """N labelled examples: images in uint8, or sequences in float32.

    An image is read as L steps of Q values. Sequences are standardised, see ``scaling``.
    """

    x: Tensor  # uint8 or float32 [N x L x Q]
    labels: Tensor  # int64 [N] as loaded; each is the place of its name in `classes`
    classes: tuple[str, ...]  # names, no two the same
    picture: str = "mnist"  # how a picture becomes such an image, as prepare.picture says
    greys: Mapping[str, Sequence[float]] = field(default_factory=dict)  # see decoding.Greys
    lengths: Tensor | None = None  # int64 [N], real steps; None where each has L of them
    scaling: Mapping[str, Any] = field(default_factory=dict)  # see preparation.standardise
    groups: tuple[str, ...] = ()  # of each, whose it is; only until splits are drawn

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_images(self) -> bool:
        """Whether these are images."""
        return self.x.dtype == torch.uint8

    def steps(self) -> list[int]:
        """Return of each example how many of its L steps are real."""
        full = [self.x.shape[1]] * len(self)
        return full if self.lengths is None else self.lengths.tolist()

    def to(self, device: torch.device) -> "Split":
        """Return the split on ``device``."""
        lengths = None if self.lengths is None else self.lengths.to(device)
        x, labels = self.x.to(device), self.labels.to(device)
        return replace(self, x=x, labels=labels, lengths=lengths)

    def take(self, indices: Tensor) -> "Split":
        """Return the examples at ``indices`` (int64 [M])."""
        lengths = None if self.lengths is None else self.lengths[indices]
        groups = tuple(self.groups[i] for i in indices.tolist()) if self.groups else ()
        x, labels = self.x[indices], self.labels[indices]
        return replace(self, x=x, labels=labels, lengths=lengths, groups=groups)

    def names(self, labels: Tensor) -> list[str]:
        """Return the name of the class of each of ``labels`` (int64 [M], on any device)."""
        return [self.classes[label] for label in labels.tolist()]

    def batches(
        self, size: int, order: Tensor | None = None, start: int = 0
    ) -> Iterator[tuple[Tensor, ...]]:
        """Yield batches of ``size`` (the last may be smaller) without leaving the device.

        Args:
            size: B, examples in a batch.
            order: int64 [M], which of them, in which order; None: all, as they lie.
            start: how many to leave out, of the first in that order.

        Yields:
            x: float32 [B x L x Q], y: int64 [B] and, where the split has them, lengths:
            int64 [B].
        """
        if order is not None:
            order = order.to(self.x.device)
        for first in range(start, len(self if order is None else order), size):
            chunk = slice(first, first + size)
            pick = chunk if order is None else order[chunk]
            batch = to_input(self.x[pick]), self.labels[pick]
            yield batch if self.lengths is None else (*batch, self.lengths[pick])


def to_input(x: Tensor) -> Tensor:
    """Return what the model reads, float32: images in [0, 1], sequences as they are."""
    return x.float() / 255 if x.dtype == torch.uint8 else x


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
    tensors = {"images" if split.is_images else "x": split.x, "labels": labels}
    metadata: dict = {"classes": split.classes, "picture": split.picture}
    if split.greys:
        metadata["greys"] = split.greys
    if split.scaling:
        metadata["scaling"] = split.scaling
    if split.lengths is not None:
        tensors["lengths"] = split.lengths
    save_tensors(path, tensors, metadata)


def load_split(
    path: Path, params: ModelParams, device: torch.device | str = "cpu"
) -> Split:
    """Read a split from ``path`` onto ``device``, for a model of ``params``.

    Raises:
        TensorFileError: no such file, or damaged.
        ParamsError: the model cannot read these examples or tell these classes.
    """
    tensors, metadata = load_tensors(path, writer="prepare")
    split = Split(
        tensors["images"] if "images" in tensors else tensors["x"],
        tensors["labels"].long(),
        tuple(metadata["classes"]),
        metadata["picture"],
        metadata.get("greys", {}),
        tensors.get("lengths"),
        metadata.get("scaling", {}),
    )
    q, n_class = split.x.shape[2], len(split.classes)
    misfits = []
    if params.xdim != q:
        what = "the width of the images" if split.is_images else "the values in a step"
        fits = f"{q}, {what} in {path}"
        misfits.append(ParamsError.of("model.xdim", fits, params.xdim))
    if params.ydim != n_class:
        fits = f"{n_class}, the number of classes in {path}"
        misfits.append(ParamsError.of("model.ydim", fits, params.ydim))
    if misfits:
        raise ParamsError(*map(str, misfits))
    return split.to(torch.device(device))
