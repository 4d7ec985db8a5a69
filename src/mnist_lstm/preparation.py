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


def hold_out(train: Split, valid_size: int, seed: int) -> dict[str, Split]:
    """Split ``valid_size`` images off ``train``, each class by its share, by ``seed``.

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
    # A second, and only where a split is asked for.
    from sklearn.model_selection import train_test_split

    kept, heldout = train_test_split(
        range(len(train)),
        test_size=valid_size,
        stratify=train.labels,
        random_state=seed,
    )
    return {
        "train": train.take(torch.tensor(sorted(kept))),
        "valid": train.take(torch.tensor(sorted(heldout))),
    }


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
