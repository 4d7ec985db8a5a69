"""The data sets: their files, checksums and classes, and the function that writes `digits`.

Each set is the same four gzipped IDX files, of images in ten classes. What decides their
bytes is here; who serves them is in ``plumbing/mirrors.py``. The user's own images are
read by ``imagefolder.py``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from mnist_lstm import idx
from mnist_lstm.plumbing import transfer
from mnist_lstm.plumbing.files import write_bytes
from mnist_lstm.plumbing.mirrors import MIRRORS
from mnist_lstm.plumbing.transfer import Checksum

FILES = {
    "train-images": "train-images-idx3-ubyte.gz",
    "train-labels": "train-labels-idx1-ubyte.gz",
    "test-images": "t10k-images-idx3-ubyte.gz",
    "test-labels": "t10k-labels-idx1-ubyte.gz",
}


def write_digits(folder: Path) -> None:
    """Write scikit-learn's handwritten digits as the same four files, without a network.

    1,797 images of 8x8 in 17 greys (UCI Optical Recognition of Handwritten Digits) are
    scaled to 0-255, tripled in size and padded to 28x28. The last 360 are the test set.
    """
    import numpy as np
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    images = np.pad(images.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
    labels = digits.target.astype(np.uint8)
    n_train = len(labels) - 360
    for part, pick in {"train": slice(n_train), "test": slice(n_train, None)}.items():
        for kind, values in {"images": images[pick], "labels": labels[pick]}.items():
            array = idx.Array(values.shape, values.tobytes())
            idx.write(folder / FILES[f"{part}-{kind}"], array)


def _checksums(algorithm: str, *digests: str) -> dict[str, Checksum]:
    """Return the checksum of each file, in the order of ``FILES``."""
    names = FILES.values()
    return {name: Checksum(algorithm, x) for name, x in zip(names, digests, strict=True)}


class DataSet(NamedTuple):
    """Ten classes of images, and where their files come from."""

    classes: tuple[str, ...]  # the names of labels 0, 1, ...
    checksums: Mapping[str, Checksum] = {}  # of the files that mirrors serve ...
    write: Callable[[Path], None] | None = None  # ... or the function that writes them


_DIGITS = tuple("0123456789")
# Class names and MD5s are those of torchvision.datasets, but for the digits' ("7 - seven"
# there). Its import takes four seconds, so a test compares the two instead. The files of
# MNIST with those MD5s have these SHA-256.
DATA_SETS = {
    "mnist": DataSet(
        classes=_DIGITS,
        checksums=_checksums(
            "sha256",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion_mnist": DataSet(
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        checksums=_checksums(
            "md5",
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
    "kmnist": DataSet(
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        checksums=_checksums(
            "md5",
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
    ),
    "digits": DataSet(classes=_DIGITS, write=write_digits),
}
OWN = "own"  # the user's own folders of images, which no one serves
NAMES = (*DATA_SETS, OWN)


def fetch(name: str, folder: Path, own_mirror: str | None = None) -> None:
    """Write the four files of data set ``name`` into ``folder``; of `own`, where they are.

    Args:
        name: one of ``NAMES``.
        folder: an existing folder.
        own_mirror: a folder or base URL that holds ``<name>/<file>``; tried first.

    Raises:
        NoMirrorError: each mirror with its reason, and what to do.
    """
    if name == OWN:
        # DVC warns of a folder without files.
        write_bytes(folder / "own.txt", b"The images are read where they are, in own/.\n")
    elif write := DATA_SETS[name].write:
        write(folder)
    else:
        checksums = DATA_SETS[name].checksums
        transfer.fetch(name, checksums, MIRRORS[name], folder, own_mirror)
