"""The catalogue of data sets, and `digits`, which needs no network."""

import hashlib
import os
from pathlib import Path
from typing import get_args

import pytest
import torchvision
from sklearn.datasets import load_digits

from defaults import DIGITS
from mnist_lstm import datasets, preparation
from mnist_lstm.plumbing.params import DataParams

NAMES = list(datasets.FILES.values())
TORCHVISION = {
    "mnist": torchvision.datasets.MNIST,
    "fashion_mnist": torchvision.datasets.FashionMNIST,
    "kmnist": torchvision.datasets.KMNIST,
}


def test_params_and_catalogue_name_the_same_data_sets():
    allowed = get_args(DataParams.model_fields["name"].annotation)
    assert sorted(allowed) == sorted(datasets.NAMES)


@pytest.mark.parametrize(("name", "theirs"), TORCHVISION.items())
def test_the_classes_are_torchvisions(name, theirs):
    classes = theirs.classes
    if name == "mnist":  # "7 - seven"
        classes = [label for label, _, _ in map(str.split, classes)]
    assert list(datasets.DATA_SETS[name].classes) == classes


@pytest.mark.parametrize(("name", "theirs"), TORCHVISION.items())
def test_the_mirrors_are_torchvisions_and_one_more_for_mnist(name, theirs):
    mirrors = datasets.MIRRORS[name]
    assert mirrors[: len(theirs.mirrors)] == theirs.mirrors
    assert len(mirrors) == len(theirs.mirrors) + (name == "mnist")
    assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in mirrors)


@pytest.mark.parametrize("name", ["fashion_mnist", "kmnist"])
def test_the_checksums_are_torchvisions(name):
    ours = datasets.DATA_SETS[name].checksums
    assert {checksum.algorithm for checksum in ours.values()} == {"md5"}
    found = {file: checksum.digest for file, checksum in ours.items()}
    assert found == dict(TORCHVISION[name].resources)


@pytest.mark.parametrize(("file", "md5"), TORCHVISION["mnist"].resources)
def test_mnists_checksums_are_of_the_files_that_torchvision_pins(file, md5):
    for folder in (Path("data/raw"), Path(os.environ.get("DATA_MIRROR", ""), "mnist")):
        path = folder / file
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.md5(content).hexdigest() == md5:
            sha256 = hashlib.sha256(content).hexdigest()
            assert datasets.DATA_SETS["mnist"].checksums[file] == ("sha256", sha256)
            return
    pytest.skip("neither data/raw nor DATA_MIRROR has it")


@pytest.mark.parametrize("name", TORCHVISION)
def test_each_data_set_is_fetched_from_your_own_mirror(name, tmp_path, monkeypatch):
    monkeypatch.setitem(datasets.MIRRORS, name, [])
    into = tmp_path / "raw"
    into.mkdir()
    (tmp_path / name).mkdir()
    for file in NAMES:
        (tmp_path / name / file).write_bytes(b"not these bytes")
    with pytest.raises(datasets.transfer.NoMirrorError) as caught:
        datasets.fetch(name, into, str(tmp_path))
    first, reason, *_ = str(caught.value).splitlines()
    assert first == f"no mirror served train-images-idx3-ubyte.gz of {name}:"
    assert f"{tmp_path}/{name}  train-images-idx3-ubyte.gz: sent other bytes: 15" in reason


def test_digits_are_the_same_four_files_without_a_network(tmp_path):
    datasets.fetch("digits", tmp_path)
    train, test = preparation.read_splits(tmp_path, DIGITS)
    assert train.images.shape == (1437, 28, 28)
    assert test.images.shape == (360, 28, 28)
    digits = load_digits()
    assert train.labels.tolist() + test.labels.tolist() == digits.target.tolist()
    image = test.images[0]
    assert (image[:2] == 0).all()
    assert (image[:, -2:] == 0).all()
    pixel = image[2:26:3, 2:26:3].double() * 16 / 255
    assert pixel.round().tolist() == digits.images[1437].tolist()
