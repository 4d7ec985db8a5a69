"""From the files of a data set to splits: decoded, and a validation split held out."""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import torch

from mnist_lstm.data.datasets import OPTIONS, kind_of, sources
from mnist_lstm.data.folders import drawn_groups
from mnist_lstm.data.splits import Split
from mnist_lstm.plumbing.errors import ParamsError, UserError


def read_splits(name: str, folder: Path) -> tuple[Split, Split]:
    """Decode the train and the test split of data set ``name`` from ``folder``.

    Raises:
        UserError: a file that is missing or damaged; torchvision would fetch it unseen.
    """
    if name == "digits":
        return _read_digits()
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root, "" if name == "usps" else f"{kind_of(name).__name__}/raw")
        raw.mkdir(parents=True, exist_ok=True)
        for file, md5, _ in sources(name):
            path = folder / file
            data = path.read_bytes() if path.exists() else b""
            if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
                advice = "`dvc repro --force download` fetches it again"
                raise UserError(f"{path}: missing or damaged; {advice}")
            (raw / file).symlink_to(path.resolve())
        return _read(name, root, train=True), _read(name, root, train=False)


def _read(name: str, root: str, train: bool) -> Split:
    """Have torchvision unpack the files below ``root``, and decode them."""
    # It downloads nothing: what it looks for is there.
    found = kind_of(name)(root, train=train, download=True, **OPTIONS.get(name, {}))
    images, labels = torch.as_tensor(found.data), torch.as_tensor(found.targets)
    if name == "emnist":
        images = images.transpose(1, 2).contiguous()  # it holds them on their side
    if name == "qmnist":
        labels = labels[:, 0]  # the others tell who wrote it
    names = getattr(found, "classes", range(10))  # "7 - seven"
    return Split(images, labels, tuple(str(c).partition(" - ")[0] for c in names))


def _read_digits() -> tuple[Split, Split]:
    """Return scikit-learn's handwritten digits, without a network; the last 360 to test on.

    1,797 images of 8x8 in 17 greys (UCI Optical Recognition of Handwritten Digits) are
    scaled to 0-255, tripled in size and padded to 28x28.
    """
    from sklearn.datasets import load_digits  # here: its import takes a second

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    images = np.pad(images.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
    whole = Split(
        torch.from_numpy(images), torch.from_numpy(digits.target), tuple("0123456789")
    )
    n = torch.arange(len(whole))
    return whole.take(n[:-360]), whole.take(n[-360:])


def hold_out(
    train: Split, valid_size: int, seed: int, valid_split: str = "random"
) -> dict[str, Split]:
    """Split ``valid_size`` examples off ``train``, each class by its share.

    They are drawn at ``random``; or the ``last`` of each class (MNIST lies in its writers'
    order, so these are of others than the rest, as the test split is); or whole groups
    (``group``), until there are about ``valid_size``.

    Returns:
        ``train`` and, unless ``valid_size`` is 0, ``valid``; in the order of the file.

    Raises:
        ParamsError: a split would lack a class, or there are no groups.
    """
    if valid_size == 0:
        return {"train": train}
    least, most = len(train.classes), len(train) - len(train.classes)
    if not least <= valid_size <= most:
        fits = f"0 or from {least} to {most} for {len(train)} train examples"
        raise ParamsError.of("prepare.valid_size", fits, valid_size)
    single = (train.labels.bincount() == 1).nonzero().flatten()
    if len(single):
        names = ", ".join(train.names(single[:5]))
        fits = f"0 where a class has one train example ({names})"
        raise ParamsError.of("prepare.valid_size", fits, valid_size)
    heldout = torch.zeros(len(train), dtype=torch.bool)
    if valid_split == "group":
        heldout |= _whole_groups(train, valid_size, seed)
    elif valid_split == "last":
        heldout[_last(train.labels, valid_size)] = True
    else:
        heldout[_random(train.labels, valid_size, seed)] = True
    parts = {"train": ~heldout, "valid": heldout}
    return {name: train.take(part.nonzero().flatten()) for name, part in parts.items()}


def _whole_groups(train: Split, n: int, seed: int) -> torch.Tensor:
    """Return bool [N]: the examples of the groups that are drawn."""
    names = train.names(train.labels)
    chosen = drawn_groups(names, train.groups, n / len(train), seed) if train.groups else []
    if not any(chosen):
        why = "no group can be held out whole, each is needed for a class"
        why = why if train.groups else "the train data name no groups"
        raise ParamsError.of("prepare.valid_split", f"random or last: {why}", "group")
    return torch.tensor(chosen)


def _random(labels: torch.Tensor, n: int, seed: int) -> list[int]:
    from sklearn.model_selection import train_test_split

    places = range(len(labels))
    _, chosen = train_test_split(places, test_size=n, stratify=labels, random_state=seed)
    return chosen


def _last(labels: torch.Tensor, n: int) -> torch.Tensor:
    """Return int64 [n]: the examples with most of their class before them, by share."""
    counts = labels.bincount()
    by_class = labels.argsort(stable=True)
    first = counts.cumsum(0) - counts
    place = torch.empty(len(labels), dtype=torch.float64)
    place[by_class] = torch.arange(0.5, len(labels), dtype=place.dtype)
    share = (place - first[labels.long()]) / counts[labels.long()]
    return share.argsort(stable=True)[-n:]
