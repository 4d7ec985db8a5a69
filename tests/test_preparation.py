import pytest
import torch

from defaults import DIGITS, TINY, model_params
from mnist_lstm.data import preparation
from mnist_lstm.data.splits import Split, load_split
from mnist_lstm.plumbing.errors import ParamsError
from sandbox import create


def labelled(labels):
    """Return images of ``labels``, each with its place in its pixels."""
    images = torch.arange(len(labels)).byte().expand(3, 4, -1).permute(2, 0, 1)
    return Split(images, torch.tensor(labels), DIGITS)


def test_the_validation_split_takes_each_class_by_its_share_if_it_is_asked_for(split):
    assert preparation.hold_out(split, 0, seed=0) == {"train": split}
    splits = preparation.hold_out(split, 20, seed=0)
    assert [len(splits[name]) for name in ("train", "valid")] == [40, 20]
    assert splits["valid"].labels.bincount().tolist() == [2] * 10
    rows = torch.cat([splits["train"].x, splits["valid"].x])
    assert len(rows.unique(dim=0)) == 60  # each image in one of them, once
    again, another = (preparation.hold_out(split, 20, seed)["valid"] for seed in (0, 1))
    assert torch.equal(splits["valid"].x, again.x)
    assert not torch.equal(again.x, another.x)


def test_the_last_of_each_class_are_held_out_by_its_share():
    labels = [0, 1, 0, 0, 2, 1, 0, 2, 0, 1, 0, 2, 2, 0, 0, 1, *range(3, 10), *range(3, 10)]
    splits = preparation.hold_out(labelled(labels), 15, seed=0, valid_split="last")
    found = splits["valid"].x[:, 0, 0].tolist()
    assert found == [8, 9, 10, 11, 12, 13, 14, 15, *range(23, 30)]
    assert splits["valid"].labels.tolist() == [labels[i] for i in found]
    kept = splits["train"].x[:, 0, 0].tolist()
    assert kept == sorted({*range(30)} - {*found})


@pytest.mark.long
def test_the_stage_holds_out_as_params_yaml_says(tmp_path):
    project = create(tmp_path / "project", TINY | {"data": {"name": "digits"}})
    project.set_params({"prepare": {"valid_size": 100, "valid_split": "last"}})
    project.run("python", "stages/prepare.py", PYTHONPATH="src")
    train, _ = preparation.read_splits("digits", project.path / "data/raw")
    for name, split in preparation.hold_out(train, 100, 0, "last").items():
        path = project.path / f"data/prepared/{name}.safetensors"
        assert torch.equal(load_split(path, model_params()).x, split.x)


@pytest.mark.parametrize("size", [9, 51])
def test_a_validation_split_without_room_for_each_class_is_refused(split, size):
    for possible in (10, 50):
        for part in preparation.hold_out(split, possible, 0).values():
            assert part.labels.unique().tolist() == list(range(10))
    fits = "prepare.valid_size must be 0 or from 10 to 50 for 60 train examples, got"
    with pytest.raises(ParamsError, match=fits):
        preparation.hold_out(split, size, 0)


def test_a_class_of_one_image_cannot_be_in_both_splits():
    train = labelled([*range(8), *[9] * 20])
    with pytest.raises(ParamsError, match=r"must be 0 where .* \(0, 1, 2, 3, 4\), got 12"):
        preparation.hold_out(train, 12, seed=0)
    assert preparation.hold_out(train, 0, seed=0) == {"train": train}
