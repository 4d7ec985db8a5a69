"""The catalogue of data sets, and `digits`, which needs no network."""

from typing import get_args

import pytest
from sklearn.datasets import load_digits

from defaults import DIGITS
from mnist_lstm import datasets, preparation
from mnist_lstm.plumbing.params import DataParams

NAMES = list(datasets.FILES.values())
FETCHED = ["mnist", "fashion_mnist", "kmnist"]


def test_params_and_catalogue_name_the_same_data_sets():
    allowed = get_args(DataParams.model_fields["name"].annotation)
    assert sorted(allowed) == sorted(datasets.NAMES)


@pytest.mark.parametrize("name", FETCHED)
def test_the_classes_are_torchvisions(name):
    theirs = datasets._torchvision(name).classes
    ours = datasets.DATA_SETS[name].classes
    assert len(ours) == 10
    if name == "mnist":  # "7 - seven"
        theirs = [label for label, _, _ in map(str.split, theirs)]
    assert list(ours) == theirs


@pytest.mark.parametrize("name", FETCHED)
def test_each_data_set_has_mirrors_and_a_checksum_for_each_of_its_files(name):
    mirrors = datasets.mirrors(name)
    assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in mirrors)
    assert len(mirrors) == len(set(mirrors)) >= (3 if name == "mnist" else 1)
    checksums = datasets.checksums(name)
    assert sorted(checksums) == sorted(NAMES)
    algorithm, length = ("sha256", 64) if name == "mnist" else ("md5", 32)
    for checksum in checksums.values():
        assert (checksum.algorithm, len(checksum.digest)) == (algorithm, length)


@pytest.mark.parametrize("name", FETCHED)
def test_each_data_set_is_fetched_from_your_own_mirror(name, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "mirrors", lambda name: [])
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
