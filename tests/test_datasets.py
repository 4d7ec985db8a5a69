"""The data sets, from files to splits: torchvision's, and `digits`, which needs no network.

The genuine files are checked where they are; of each format, small ones are made here.
"""

import bz2
import gzip
import hashlib
import io
import os
import struct
import zipfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from mnist_lstm.data import datasets
from mnist_lstm.data.preparation import read_splits
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import DataParams

IMAGES = {
    part: np.arange(n * 784).reshape(n, 28, 28).astype(np.uint8)
    for part, n in {"train": 3, "test": 2}.items()
}
LABELS = {"train": [7, 0, 9], "test": [1, 2]}
USPS = {"train": "usps.bz2", "test": "usps.t.bz2"}


def idx(values, kind=8):
    """Return an IDX file, gzipped; kind 8: of bytes, 12: of int32."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
    return gzip.compress(header + values.astype(">u1" if kind == 8 else ">i4").tobytes())


def mnist_files():
    short = {"train": "train", "test": "t10k"}
    return {f"{short[p]}-images-idx3-ubyte.gz": idx(x) for p, x in IMAGES.items()} | {
        f"{short[p]}-labels-idx1-ubyte.gz": idx(np.array(y)) for p, y in LABELS.items()
    }


def qmnist_files():
    """Each label beside seven numbers about its writer."""
    return {f"qmnist-{p}-images-idx3-ubyte.gz": idx(x) for p, x in IMAGES.items()} | {
        f"qmnist-{p}-labels-idx2-int.gz": idx(np.array([[y] + [5] * 7 for y in ys]), 12)
        for p, ys in LABELS.items()
    }


def emnist_files():
    """A zip of gzipped files, the images on their side."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for p, x in IMAGES.items():
            name = f"gzip/emnist-balanced-{p}"
            archive.writestr(f"{name}-images-idx3-ubyte.gz", idx(x.transpose(0, 2, 1)))
            archive.writestr(f"{name}-labels-idx1-ubyte.gz", idx(np.array(LABELS[p])))
    return {"gzip.zip": content.getvalue()}


def usps_files():
    """Lines of a label from 1 and 256 greys from -1 to 1."""
    greys = " ".join(f"{i}:{-1 + 2 * (i % 2)}" for i in range(1, 257))
    return {
        USPS[p]: bz2.compress("".join(f"{y + 1} {greys}\n" for y in ys).encode())
        for p, ys in LABELS.items()
    }


def pin(monkeypatch, name, files):
    """Have torchvision expect ``files``."""
    kind = datasets.kind_of(name)
    md5 = {file: hashlib.md5(content).hexdigest() for file, content in files.items()}
    if name == "emnist":
        monkeypatch.setattr(kind, "md5", md5["gzip.zip"])
    elif name == "usps":
        of = {p: [f"http://127.0.0.1:9/{f}", f, md5[f]] for p, f in USPS.items()}
        monkeypatch.setattr(kind, "split_list", of)
    elif name == "qmnist":
        at = "http://127.0.0.1:9/"
        of = {p: [(at + f, md5[f]) for f in files if f"-{p}-" in f] for p in IMAGES}
        monkeypatch.setattr(kind, "resources", of)
    else:
        monkeypatch.setattr(kind, "resources", list(md5.items()))


FILES = {
    **dict.fromkeys(["mnist", "fashion_mnist", "kmnist"], mnist_files),
    "qmnist": qmnist_files,
    "emnist": emnist_files,
    "usps": usps_files,
}


@pytest.fixture(params=FILES)
def fetched(request, tmp_path, monkeypatch):
    """Each data set of torchvision, small, after it was fetched from the user's mirror."""
    name, files = request.param, FILES[request.param]()
    pin(monkeypatch, name, files)
    (tmp_path / "mirror" / name).mkdir(parents=True)
    for file, content in files.items():
        (tmp_path / "mirror" / name / file).write_bytes(content)
    raw = tmp_path / "raw"
    raw.mkdir()
    datasets.fetch(name, raw, str(tmp_path / "mirror"))
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == files
    return name, raw


def test_params_and_code_name_the_same_data_sets():
    allowed = get_args(DataParams.model_fields["name"].annotation)
    assert sorted(allowed) == sorted([*datasets.TORCHVISION, "digits", datasets.OWN])


def test_images_labels_and_classes_are_those_of_the_files_if_these_are_whole(fetched):
    name, raw = fetched
    before = sorted(raw.iterdir())
    for part, split in zip(IMAGES, read_splits(name, raw), strict=True):
        assert split.labels.tolist() == LABELS[part]
        assert split.x.dtype == torch.uint8
        if name == "usps":
            assert split.x.shape == (len(split), 16, 16)
            assert split.x[0, 0, :3].tolist() == [255, 0, 255]
        else:
            assert split.x.tolist() == IMAGES[part].tolist()
        assert len(split.classes) == (47 if name == "emnist" else 10)
        if name in ("mnist", "qmnist", "usps"):
            assert split.classes == tuple("0123456789")
    assert sorted(raw.iterdir()) == before  # what DVC recorded stays as it is
    for content in (b"other", None):  # nor does torchvision fetch it unseen
        before[0].write_bytes(content) if content else before[0].unlink()
        with pytest.raises(UserError, match="missing or damaged; `dvc repro --force downl"):
            read_splits(name, raw)


@pytest.mark.parametrize(
    "folder", [Path("data/raw"), Path(os.environ.get("DATA_MIRROR", ""), "mnist")]
)
def test_the_genuine_files_are_mnist(folder):
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        pytest.skip("no genuine files here")
    train, test = read_splits("mnist", folder)
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert train.x.float().mean().item() == pytest.approx(33.3, abs=0.1)
    for source in datasets.sources("mnist"):
        assert len(source.urls) == 3
        assert all(url.endswith(f"/mnist/{source.file}") for url in source.urls)


def test_digits_need_no_network(tmp_path):
    datasets.fetch("digits", tmp_path)
    train, test = read_splits("digits", tmp_path)
    digits = load_digits()
    assert train.labels.tolist() + test.labels.tolist() == digits.target.tolist()
    images = torch.cat([train.x, test.x])
    assert images.shape == (1797, 28, 28)
    assert not images[:, :2].any() | images[:, :, -2:].any()
    pixels = images[:, 2:26:3, 2:26:3].double() * 16 / 255
    assert pixels.round().tolist() == digits.images.tolist()
