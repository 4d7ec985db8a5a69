from pathlib import Path

import pytest
import torch

from mnist_lstm import tensorfile, tensors
from mnist_lstm.params import ModelParams, ParamsError
from mnist_lstm.tensorfile import TensorFileError
from mnist_lstm.tensors import SplitError
from project import DEFAULT


def test_a_split_comes_back_as_it_was_saved(split, tmp_path):
    path = tmp_path / "train.safetensors"
    tensors.save(split, path)
    loaded = tensors.load(path)
    assert torch.equal(loaded.images, split.images)
    assert torch.equal(loaded.labels, split.labels)
    assert loaded.labels.dtype == torch.int64
    assert loaded.n_class == 10


def test_the_same_split_is_the_same_file(split, tmp_path):
    tensors.save(split, tmp_path / "a")
    tensors.save(split, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_batches_hold_each_image_once_in_the_order_asked_for(split):
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    batches = list(split.batches(25, order))
    assert [len(y) for _, y in batches] == [25, 25, 10]
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    assert torch.equal(y, split.labels[order])
    assert torch.equal((x * 255).round().byte(), split.images[order])


def test_the_model_reads_greys_from_0_to_1():
    x = tensors.to_input(torch.tensor([[[0, 51, 255]]], dtype=torch.uint8))
    assert x.dtype == torch.float32
    assert x.tolist() == [[[0, pytest.approx(0.2), 1]]]


def test_a_missing_file_says_which_stage_writes_it(tmp_path):
    with pytest.raises(
        TensorFileError, match=r"train.safetensors: no such file; the stage `prepare"
    ):
        tensors.load(tmp_path / "train.safetensors")


IMAGES = torch.zeros(3, 28, 28).byte()
LABELS = torch.zeros(3).byte()


@pytest.mark.parametrize(
    ("content", "n_class"),
    [
        ({"images": IMAGES.float(), "labels": LABELS}, 10),
        ({"images": IMAGES, "labels": LABELS.long()}, 10),
        ({"images": IMAGES[0], "labels": LABELS}, 10),
        ({"images": IMAGES, "labels": torch.zeros(4).byte()}, 10),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, 10),
        ({"images": IMAGES[:, :0], "labels": LABELS}, 10),
        ({"images": IMAGES, "labels": LABELS}, True),
        ({"images": IMAGES, "labels": LABELS + 10}, 10),
        ({"images": IMAGES, "labels": LABELS}, None),
        ({"images": IMAGES, "labels": LABELS}, "10"),
        ({"images": IMAGES}, 10),
        ({"rnn.weight_ih_l0": torch.zeros(3)}, 10),
    ],
)
def test_tensors_of_another_form_are_refused_by_name(tmp_path, content, n_class):
    path = tmp_path / "x.safetensors"
    tensorfile.save(path, content, {"n_class": n_class})
    with pytest.raises(SplitError) as caught:
        tensors.load(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: no prepared split: found ")
    assert "expected images uint8 [N x L x Q] and labels uint8 [N]" in line


@pytest.mark.parametrize(
    ("key", "value", "fits"),
    [
        ("xdim", 27, "28, the width of the images in x.safetensors"),
        ("ydim", 11, "10, the number of classes in x.safetensors"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_refused_by_name(split, key, value, fits):
    sizes = DEFAULT["model"] | {key: value}
    with pytest.raises(ParamsError) as caught:
        tensors.check_fit(split, ModelParams(**sizes), Path("x.safetensors"))
    assert str(caught.value) == f"params.yaml: model.{key} must be {fits}, got {value}"
