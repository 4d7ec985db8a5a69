"""The data sets: torchvision's, scikit-learn's digits, and the user's own images.

torchvision knows the files of its data sets, their mirrors, MD5s, classes and formats. The
user's own images are read by ``imagefolder.py``.
"""

from pathlib import Path
from typing import Any

from mnist_lstm.plumbing import download
from mnist_lstm.plumbing.download import Source
from mnist_lstm.plumbing.files import write_bytes

OWN = "own"  # the user's own folders of images
TORCHVISION = {  # by its classes
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "kmnist": "KMNIST",
    "emnist": "EMNIST",
    "qmnist": "QMNIST",
    "usps": "USPS",
}
# of EMNIST's six splits, the 47 classes of the same size: digits and letters
OPTIONS = {"emnist": {"split": "balanced"}}
MORE_MIRRORS = {"mnist": ["https://storage.googleapis.com/cvdf-datasets/mnist/"]}


def fetch(name: str, folder: Path, own_mirror: str | None = None) -> None:
    """Write the files of data set ``name`` into ``folder``, which exists.

    ``own_mirror``, a folder or base URL that holds ``<name>/<file>``, is tried first.

    Raises:
        NoMirrorError: each mirror with its reason, and what to do.
    """
    if name in TORCHVISION:
        download.fetch(name, sources(name), folder, own_mirror)
    else:  # DVC warns of a folder without files
        place = "in own/" if name == OWN else "in scikit-learn"
        write_bytes(folder / f"{name}.txt", f"The images lie {place}.\n".encode())


def kind_of(name: str) -> Any:
    """Return torchvision's class of data set ``name``."""
    import torchvision  # here: its import takes seconds, and changes the environment

    return getattr(torchvision.datasets, TORCHVISION[name])


def sources(name: str) -> list[Source]:
    """Return the files of one of torchvision's data sets."""
    kind = kind_of(name)
    if name == "emnist":
        return [_source(kind.url, kind.md5)]
    if name == "qmnist":
        return [
            _source(*found) for part in ("train", "test") for found in kind.resources[part]
        ]
    if name == "usps":
        return [_source(url, md5) for url, _, md5 in kind.split_list.values()]
    mirrors = [*kind.mirrors, *MORE_MIRRORS.get(name, [])]
    return [Source(file, md5, [m + file for m in mirrors]) for file, md5 in kind.resources]


def _source(url: str, md5: str) -> Source:
    return Source(url.rpartition("/")[2], md5, [url])
