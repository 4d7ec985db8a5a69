"""The data sets: their files, mirrors and checksums, and how they are fetched.

Each set is the same four gzipped IDX files. A transfer is trusted for its checksum, never
for where it came from, so the mirror that served it is no part of the result.
"""

import hashlib
import signal
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from mnist_lstm import files, idx
from mnist_lstm.errors import UserError

FILES = {
    "train-images": "train-images-idx3-ubyte.gz",
    "train-labels": "train-labels-idx1-ubyte.gz",
    "test-images": "t10k-images-idx3-ubyte.gz",
    "test-labels": "t10k-labels-idx1-ubyte.gz",
}
N_CLASS = 10

# torchvision pins MD5s only; these are of the files with those MD5s.
_MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "train-labels-idx1-ubyte.gz": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
}

_TIMEOUT = 15.0  # seconds without a byte, or until the connection stands
_GRACE = 30.0  # seconds after which a transfer must have kept up _MIN_RATE
_MIN_RATE = 4096  # bytes/s, below the slowest line on which anyone would wait
_MAX_BYTES = 64 * 2**20  # the largest file is 18 MB
_CHUNK = 2**16


class Checksum(NamedTuple):
    """What a file's bytes must hash to."""

    algorithm: str
    digest: str


class NoMirrorError(UserError):
    """No mirror served a file; `tools/repro` knows this error by its first line."""


class TransferError(Exception):
    """Why one mirror is passed over."""


def fetch(name: str, folder: Path, own_mirror: str | None = None) -> None:
    """Fetch the four files of data set ``name`` into ``folder``.

    Args:
        name: a value of ``data.name`` other than ``digits``.
        folder: an existing folder.
        own_mirror: a folder or base URL that holds ``<name>/<file>``; tried first.

    Raises:
        NoMirrorError: each mirror with its reason, and what to do.
    """
    mirrors, checksums = sources(name)
    if own_mirror:
        mirrors = [_own_base(own_mirror, name), *mirrors]
    passed_over: dict[str, str] = {}
    for file, checksum in checksums.items():
        for mirror in [m for m in mirrors if m not in passed_over]:
            try:
                _transfer(mirror + file, folder / file, checksum)
            except TransferError as reason:
                passed_over[mirror] = f"{file}: {reason}"
                print(f"passing over {mirror}: {passed_over[mirror]}")
            else:
                print(f"{file}: {(folder / file).stat().st_size:,} bytes from {mirror}")
                break
        else:
            raise NoMirrorError(_all_failed(name, file, passed_over))


def sources(name: str) -> tuple[list[str], dict[str, Checksum]]:
    """Return the public base URLs of ``name``, and the checksum of each of its files."""
    # Four seconds, and the other stages need only the names above.
    from torchvision import datasets

    kind = {
        "mnist": datasets.MNIST,
        "fashion_mnist": datasets.FashionMNIST,
        "kmnist": datasets.KMNIST,
    }[name]
    checksums = {file: Checksum("md5", md5) for file, md5 in kind.resources}
    if name == "mnist":
        for file, sha256 in _MNIST_SHA256.items():
            checksums[file] = Checksum("sha256", sha256)
    return list(kind.mirrors), checksums


def write_digits(folder: Path) -> None:
    """Write scikit-learn's handwritten digits as the same four files, without a network.

    1,797 images of 8x8 in 17 greys (UCI Optical Recognition of Handwritten Digits) are
    scaled to 0-255, tripled in size and padded to 28x28. The last 360 are the test set.
    """
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).mul(255 / 16).round().byte()
    images = images.repeat_interleave(3, 1).repeat_interleave(3, 2)
    images = torch.nn.functional.pad(images, (2, 2, 2, 2))
    labels = torch.from_numpy(digits.target).byte()
    n_train = len(labels) - 360
    for part, pick in {"train": slice(n_train), "test": slice(n_train, None)}.items():
        for kind, values in {"images": images[pick], "labels": labels[pick]}.items():
            array = idx.Array(tuple(values.shape), values.numpy().tobytes())
            idx.write(folder / FILES[f"{part}-{kind}"], array)


def _own_base(own_mirror: str, name: str) -> str:
    """Return ``own_mirror`` as the base URL of data set ``name``."""
    if "://" not in own_mirror:
        own_mirror = Path(own_mirror).expanduser().resolve().as_uri()
    return f"{own_mirror.rstrip('/')}/{name}/"


def _transfer(url: str, path: Path, checksum: Checksum) -> None:
    """Fetch ``url`` to ``path``, whole and with the right bytes, or raise."""
    try:
        data = _read(url)
    except urllib.error.HTTPError as error:
        raise TransferError(f"HTTP {error.code} {_line(error.reason)}") from None
    except TimeoutError:
        raise TransferError(f"no byte for {_TIMEOUT:.0f} s") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            reason = f"no answer for {_TIMEOUT:.0f} s"
        reason = getattr(reason, "strerror", None) or reason
        raise TransferError(_line(reason)) from None
    found = hashlib.new(checksum.algorithm, data).hexdigest()
    if found != checksum.digest:
        what = "HTML" if data.lstrip()[:1] == b"<" else "other bytes"
        raise TransferError(
            f"sent {what}: {len(data):,} bytes, {checksum.algorithm} {found[:12]}..., "
            f"expected {checksum.digest[:12]}..."
        )
    files.write_bytes(path, data)


def _read(url: str) -> bytes:
    """Return what ``url`` serves, with a bar; raise where it stalls or breaks off."""
    start = time.monotonic()
    with _answer(url) as response:
        promised = int(response.headers.get("Content-Length") or 0) or None
        name = url.rpartition("/")[2]
        data = bytearray()
        with tqdm(
            total=promised,
            desc=name,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,
            file=sys.stdout,
        ) as bar:
            # read1 returns what has come, so that a trickle can't hide from the clock.
            read = getattr(response, "read1", response.read)
            while chunk := read(_CHUNK):
                data += chunk
                bar.update(len(chunk))
                seconds = time.monotonic() - start
                if len(data) > _MAX_BYTES:
                    raise TransferError(f"sends more than {_MAX_BYTES:,} bytes")
                if seconds > _GRACE and len(data) < _MIN_RATE * seconds:
                    raise TransferError(f"stalls: {len(data):,} bytes in {seconds:.0f} s")
    if promised and len(data) < promised:
        raise TransferError(f"cut off after {len(data):,} of {promised:,} bytes")
    return bytes(data)


def _line(reason: object) -> str:
    """Return what a server said as one short line that a terminal shows as it is."""
    text = " ".join(str(reason).split())
    return "".join(c for c in text if c.isprintable())[:100]


def _answer(url: str) -> HTTPResponse:
    """Return the response to a request for ``url``, once its header is there.

    The timeout of a socket starts anew with each byte; a header has ``_GRACE`` in all.
    """
    before = signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, _GRACE)
    try:
        return urllib.request.urlopen(url, timeout=_TIMEOUT)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _too_slow(_signum: int, _frame: object) -> None:
    raise TransferError(f"no answer for {_GRACE:.0f} s")


def _all_failed(name: str, file: str, passed_over: dict[str, str]) -> str:
    reasons = "".join(f"\n  {mirror}  {why}" for mirror, why in passed_over.items())
    return (
        f"no mirror served {file} of {name}:{reasons}\n"
        f"Try again later, or set DATA_MIRROR to a folder or URL that holds\n"
        f"{name}/{file} and the other three files."
    )
