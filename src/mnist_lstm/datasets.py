"""The data sets: their files, their checksums, and the function that writes `digits`.

Each set is the same four gzipped IDX files, of images in ten classes. What decides their
bytes is here; who serves them is in ``plumbing/mirrors.py``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnist_lstm import idx
from mnist_lstm.plumbing import transfer
from mnist_lstm.plumbing.mirrors import MORE
from mnist_lstm.plumbing.transfer import Checksum

FILES = {
    "train-images": "train-images-idx3-ubyte.gz",
    "train-labels": "train-labels-idx1-ubyte.gz",
    "test-images": "t10k-images-idx3-ubyte.gz",
    "test-labels": "t10k-labels-idx1-ubyte.gz",
}
N_CLASS = 10

# torchvision pins MD5s only; these are of the files with those MD5s.
_SHA256 = {
    "mnist": {
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
    }
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


# By data.name: the class of torchvision.datasets that knows mirrors and MD5s ...
_DOWNLOADED = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
# ... or the function that writes the files.
_GENERATED: dict[str, Callable[[Path], None]] = {"digits": write_digits}
NAMES = (*_DOWNLOADED, *_GENERATED)


def fetch(name: str, folder: Path, own_mirror: str | None = None) -> None:
    """Write the four files of data set ``name`` into ``folder``.

    Args:
        name: one of ``NAMES``.
        folder: an existing folder.
        own_mirror: a folder or base URL that holds ``<name>/<file>``; tried first.

    Raises:
        NoMirrorError: each mirror with its reason, and what to do.
    """
    if name in _GENERATED:
        _GENERATED[name](folder)
    else:
        transfer.fetch(name, checksums(name), mirrors(name), folder, own_mirror)


def checksums(name: str) -> dict[str, Checksum]:
    """Return the checksum of each file of a data set that torchvision knows."""
    found = {file: Checksum("md5", md5) for file, md5 in _torchvision(name).resources}
    for file, sha256 in _SHA256.get(name, {}).items():
        found[file] = Checksum("sha256", sha256)
    return found


def mirrors(name: str) -> list[str]:
    """Return the public base URLs of a data set that torchvision knows."""
    return [*_torchvision(name).mirrors, *MORE.get(name, [])]


def _torchvision(name: str) -> Any:
    # Four seconds, and the other stages need only the names above.
    from torchvision import datasets

    return getattr(datasets, _DOWNLOADED[name])
