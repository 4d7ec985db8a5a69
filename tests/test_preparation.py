import math

import pytest
import torch

from defaults import DIGITS, model_params
from mnist_lstm import idx, preparation
from mnist_lstm.datasets import FILES
from mnist_lstm.plumbing.errors import ParamsError, PreparationError
from mnist_lstm.splits import load_split


@pytest.fixture
def raw(tmp_path):
    """Write a train part of ``n`` images with the given labels, and a test part."""

    def raw(n, labels, test_shape=(1, 3, 4)):
        parts = (("train", (n, 3, 4), labels), ("test", test_shape, [0]))
        for part, shape, classes in parts:
            data = bytes(i % 256 for i in range(math.prod(shape)))
            idx.write(tmp_path / FILES[f"{part}-images"], idx.Array(shape, data))
            array = idx.Array((len(classes),), bytes(classes))
            idx.write(tmp_path / FILES[f"{part}-labels"], array)
        return tmp_path

    return raw


def test_images_and_labels_are_read_as_they_lie(raw):
    train, test = preparation.read_splits(raw(2, [7, 0]), DIGITS)
    assert train.images[1].flatten().tolist() == list(range(12, 24))
    assert train.labels.tolist() == [7, 0]
    assert test.labels.tolist() == [0]


def test_counts_that_differ_are_refused_with_both_files(raw):
    found = r"labels.*: 3 labels for the 2 images of .*images"
    with pytest.raises(PreparationError, match=found):
        preparation.read_splits(raw(2, [1, 2, 3]), DIGITS)


def test_sizes_that_differ_are_refused_with_both_files(raw):
    found = r"t10k-images.*: images of \[5, 4\], those of train-images.* are \[3, 4\]"
    with pytest.raises(PreparationError, match=found):
        preparation.read_splits(raw(1, [1], test_shape=(1, 5, 4)), DIGITS)


@pytest.mark.parametrize("label", [10, 255])
def test_a_label_that_is_no_class_is_refused_with_its_place(raw, label):
    found = f"label {label} at index 1, expected 0 to 9"
    with pytest.raises(PreparationError, match=found):
        preparation.read_splits(raw(2, [9, label]), DIGITS)


def test_no_validation_split_unless_asked_for(split):
    assert preparation.hold_out(split, 0, seed=0) == {"train": split}


def test_the_validation_split_takes_each_class_by_its_share(split):
    splits = preparation.hold_out(split, 20, seed=0)
    assert [len(splits[name]) for name in ("train", "valid")] == [40, 20]
    assert splits["valid"].labels.bincount().tolist() == [2] * 10
    rows = torch.cat([splits["train"].images, splits["valid"].images])
    assert len(rows.unique(dim=0)) == 60  # each image in one of them, once


def test_the_seed_chooses_the_validation_split(split):
    def held_out(seed):
        return preparation.hold_out(split, 20, seed)["valid"].images

    assert torch.equal(held_out(0), held_out(0))
    assert not torch.equal(held_out(0), held_out(1))


def test_the_last_of_each_class_are_held_out_by_its_share(raw):
    labels = [0, 1, 0, 0, 2, 1, 0, 2, 0, 1, 0, 2, 2, 0, 0, 1, *range(3, 10), *range(3, 10)]
    train, _ = preparation.read_splits(raw(len(labels), labels), DIGITS)
    splits = preparation.hold_out(train, 15, seed=0, valid_split="last")
    place = {image.numpy().tobytes(): i for i, image in enumerate(train.images)}
    found = [place[image.numpy().tobytes()] for image in splits["valid"].images]
    assert found == [8, 9, 10, 11, 12, 13, 14, 15, *range(23, 30)]
    assert splits["valid"].labels.tolist() == [labels[i] for i in found]
    kept = [place[image.numpy().tobytes()] for image in splits["train"].images]
    assert kept == sorted({*range(30)} - {*found})


def test_the_stage_holds_out_as_params_yaml_says(prepared, tmp_path):
    copy = prepared.copy(tmp_path / "project")
    copy.set_params({"prepare": {"valid_size": 100, "valid_split": "last"}})
    copy.dvc("repro", "prepare")
    train, _ = preparation.read_splits(copy.path / "data/raw", DIGITS)
    params = model_params()
    for name, split in preparation.hold_out(train, 100, 0, "last").items():
        path = copy.path / f"data/prepared/{name}.safetensors"
        assert torch.equal(load_split(path, params).images, split.images)


@pytest.mark.parametrize("valid_split", ["random", "last"])
@pytest.mark.parametrize("size", [10, 25, 50])
def test_both_splits_hold_every_class(split, size, valid_split):
    splits = preparation.hold_out(split, size, 0, valid_split)
    assert len(splits["valid"]) == size
    assert splits["train"].labels.unique().tolist() == list(range(10))
    assert splits["valid"].labels.unique().tolist() == list(range(10))


@pytest.mark.parametrize("size", [1, 9, 51, 60, 1000])
def test_a_validation_split_without_room_for_each_class_is_refused(split, size):
    with pytest.raises(ParamsError, match="must be 0 or from 10 to 50") as caught:
        preparation.hold_out(split, size, seed=0)
    assert str(caught.value).startswith("params.yaml: prepare.valid_size ")


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ([0, 0, 1, 1, 2, 2, 7], "class 7 has"),
        ([0, 0, 1, 1, 5, 7], "classes 5, 7 have"),
        (list(range(8)), "classes 0, 1, 2, 3, 4, ... have"),
    ],
)
def test_a_class_of_one_image_cannot_be_in_both_splits(raw, labels, named):
    labels = labels + [9] * 20
    train, _ = preparation.read_splits(raw(len(labels), labels), DIGITS)
    with pytest.raises(ParamsError) as caught:
        preparation.hold_out(train, 12, seed=0)
    assert str(caught.value) == (
        f"params.yaml: prepare.valid_size must be 0, for {named} one train image, got 12"
    )
    assert preparation.hold_out(train, 0, seed=0) == {"train": train}
