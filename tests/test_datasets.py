"""The data sets, from files to splits: torchvision's, and `digits`, which needs no network.

Small files of each format are made here; tests/mnist has the genuine ones.
"""

import bz2
import gzip
import hashlib
import io
import struct
import zipfile
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
NOWHERE = "http://127.0.0.1:9/"


def idx(values, kind=8):
    """Return an IDX file, gzipped; kind 8: of bytes, 12: of int32."""
    values = np.array(values)
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
    return gzip.compress(header + values.astype(">u1" if kind == 8 else ">i4").tobytes())


def files_of(name, part):
    """Return the files of a part of data set ``name``, small, by their names."""
    images, labels = idx(IMAGES[part]), idx(LABELS[part])
    if name == "qmnist":  # each label beside seven numbers about its writer
        labels = idx([[y] + [5] * 7 for y in LABELS[part]], 12)
        name = f"qmnist-{part}"
        return {
            f"{name}-images-idx3-ubyte.gz": images,
            f"{name}-labels-idx2-int.gz": labels,
        }
    if name == "usps":  # lines of a label from 1 and 256 greys from -1 to 1
        greys = " ".join(f"{i}:{-1 + 2 * (i % 2)}" for i in range(1, 257))
        lines = "".join(f"{y + 1} {greys}\n" for y in LABELS[part])
        return {USPS[part]: bz2.compress(lines.encode())}
    if name == "emnist":  # a zip of both parts, the images on their side
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for p, x in IMAGES.items():
                name = f"gzip/emnist-balanced-{p}"
                archive.writestr(f"{name}-images-idx3-ubyte.gz", idx(x.transpose(0, 2, 1)))
                archive.writestr(f"{name}-labels-idx1-ubyte.gz", idx(LABELS[p]))
        return {"gzip.zip": content.getvalue()}
    name = "train" if part == "train" else "t10k"
    return {f"{name}-images-idx3-ubyte.gz": images, f"{name}-labels-idx1-ubyte.gz": labels}


@pytest.fixture(params=datasets.TORCHVISION)
def fetched(request, tmp_path, monkeypatch):
    """Each data set of torchvision, small, after it was fetched from the user's mirror."""
    name = request.param
    parts = {part: files_of(name, part) for part in IMAGES}
    files = parts["train"] | parts["test"]
    md5 = {file: hashlib.md5(content).hexdigest() for file, content in files.items()}
    attribute, expected = "resources", list(md5.items())
    if name == "emnist":
        attribute, expected = "md5", md5["gzip.zip"]
    elif name == "usps":
        attribute = "split_list"
        expected = {p: [NOWHERE + f, f, md5[f]] for p, f in USPS.items()}
    elif name == "qmnist":
        expected = {p: [(NOWHERE + f, md5[f]) for f in parts[p]] for p in parts}
    monkeypatch.setattr(datasets.kind_of(name), attribute, expected)
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
    assert all(len(source.urls) == 3 for source in datasets.sources("mnist"))


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
