"""From the four IDX files to splits: decoded, checked against each other, held out."""

from pathlib import Path

import torch

from mnist_lstm import idx
from mnist_lstm.datasets import FILES
from mnist_lstm.plumbing.errors import ParamsError, PreparationError
from mnist_lstm.splits import Split


def read_splits(folder: Path, classes: tuple[str, ...]) -> tuple[Split, Split]:
    """Decode the train and the test split in ``folder``; labels stand for ``classes``.

    Raises:
        IdxError: a file that is damaged or no IDX file.
        PreparationError: counts or sizes that differ, or a label that is no class.
    """
    train, test = (_read_part(folder, part, classes) for part in ("train", "test"))
    sizes = [list(split.images.shape[1:]) for split in (train, test)]
    if sizes[0] != sizes[1]:
        path = folder / FILES["test-images"]
        raise PreparationError.sizes(path, sizes[1], FILES["train-images"], sizes[0])
    return train, test


def hold_out(
    train: Split, valid_size: int, seed: int, valid_split: str = "random"
) -> dict[str, Split]:
    """Split ``valid_size`` images off ``train``, each class by its share.

    Args:
        train: of any order.
        valid_size: how many; 0: none.
        seed: chooses the images of ``random``.
        valid_split: ``random``, or ``last``: of each class the last. MNIST lies in its
            writers' order, so these are of others than the rest, as the test split is.

    Returns:
        ``train`` and, unless ``valid_size`` is 0, ``valid``; in the order of the file.

    Raises:
        ParamsError: a validation split without room for every class, or a class of one
            image.
    """
    if valid_size == 0:
        return {"train": train}
    n_class = len(train.classes)
    if not n_class <= valid_size <= len(train) - n_class:
        raise ParamsError.valid_size(n_class, len(train), valid_size)
    single = (train.labels.bincount() == 1).nonzero().flatten().tolist()
    if single:
        raise ParamsError.one_image([train.classes[i] for i in single], valid_size)
    heldout = torch.zeros(len(train), dtype=torch.bool)
    if valid_split == "last":
        heldout[_last(train.labels, valid_size)] = True
    else:
        heldout[_random(train.labels, valid_size, seed)] = True
    parts = {"train": ~heldout, "valid": heldout}
    return {name: train.take(part.nonzero().flatten()) for name, part in parts.items()}


def _random(labels: torch.Tensor, n: int, seed: int) -> list[int]:
    # A second, and only where a split is asked for.
    from sklearn.model_selection import train_test_split

    images = range(len(labels))
    _, chosen = train_test_split(images, test_size=n, stratify=labels, random_state=seed)
    return chosen


def _last(labels: torch.Tensor, n: int) -> torch.Tensor:
    """Return int64 [n]: the images with most of their class before them, by share."""
    counts = labels.bincount()
    by_class = labels.argsort(stable=True)
    first = counts.cumsum(0) - counts
    place = torch.empty(len(labels), dtype=torch.float64)
    place[by_class] = torch.arange(0.5, len(labels), dtype=place.dtype)
    share = (place - first[labels.long()]) / counts[labels.long()]
    return share.argsort(stable=True)[-n:]


def _read_part(folder: Path, part: str, classes: tuple[str, ...]) -> Split:
    images_path = folder / FILES[f"{part}-images"]
    labels_path = folder / FILES[f"{part}-labels"]
    images = _tensor(idx.read(images_path, ndim=3))
    labels = _tensor(idx.read(labels_path, ndim=1))
    if len(images) != len(labels):
        raise PreparationError.counts(labels_path, len(labels), images_path, len(images))
    n_class = len(classes)
    if labels.max() >= n_class:
        at = int((labels >= n_class).nonzero()[0])
        raise PreparationError.label(labels_path, int(labels[at]), at, n_class)
    return Split(images, labels, classes)


def _tensor(array: idx.Array) -> torch.Tensor:
    # frombuffer shares memory and wants it writable
    values = torch.frombuffer(bytearray(array.data), dtype=torch.uint8)
    return values.reshape(array.shape)
