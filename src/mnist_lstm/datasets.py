"""The data sets: their files, checksums and classes, and the function that writes `digits`.

Each set is the same four gzipped IDX files, of images in ten classes. What decides their
bytes is here; who serves them is in ``plumbing/mirrors.py``. The user's own images are
read by ``imagefolder.py``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mnist_lstm import idx
from mnist_lstm.plumbing import transfer
from mnist_lstm.plumbing.files import write_bytes
from mnist_lstm.plumbing.mirrors import MORE
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


class DataSet(NamedTuple):
    """Ten classes of images, and where their files come from."""

    classes: tuple[str, ...]  # the names of labels 0, 1, ...
    torchvision: str = ""  # the class of torchvision.datasets that has mirrors and MD5s ...
    write: Callable[[Path], None] | None = None  # ... or the function that writes the files
    sha256: Mapping[str, str] = {}  # by file, where they are known: torchvision pins MD5s


_DIGITS = tuple("0123456789")
# Class names are those of torchvision.datasets, but for the digits ("7 - seven" there).
DATA_SETS = {
    "mnist": DataSet(
        classes=_DIGITS,
        torchvision="MNIST",
        sha256={  # of the files with torchvision's MD5s
            FILES["train-images"]: (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
            ),
            FILES["train-labels"]: (
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
            ),
            FILES["test-images"]: (
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
            ),
            FILES["test-labels"]: (
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
            ),
        },
    ),
    "fashion_mnist": DataSet(
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        torchvision="FashionMNIST",
    ),
    "kmnist": DataSet(
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        torchvision="KMNIST",
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
        transfer.fetch(name, checksums(name), mirrors(name), folder, own_mirror)


def checksums(name: str) -> dict[str, Checksum]:
    """Return the checksum of each file of a data set that torchvision knows."""
    found = {file: Checksum("md5", md5) for file, md5 in _torchvision(name).resources}
    for file, sha256 in DATA_SETS[name].sha256.items():
        found[file] = Checksum("sha256", sha256)
    return found


def mirrors(name: str) -> list[str]:
    """Return the public base URLs of a data set that torchvision knows."""
    return [*_torchvision(name).mirrors, *MORE.get(name, [])]


def _torchvision(name: str) -> Any:
    # Four seconds, and the other stages need only the table above.
    from torchvision import datasets

    return getattr(datasets, DATA_SETS[name].torchvision)
