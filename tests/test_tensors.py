import pytest
import safetensors.torch
import torch

from mnist_lstm import tensors
from mnist_lstm.tensors import SplitError


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
        SplitError, match=r"train.safetensors: no such file; the stage `prepare"
    ):
        tensors.load(tmp_path / "train.safetensors")


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(3, 28, 28), torch.zeros(3).byte()),
        (torch.zeros(3, 28).byte(), torch.zeros(3).byte()),
        (torch.zeros(3, 28, 28).byte(), torch.zeros(4).byte()),
    ],
)
def test_tensors_of_another_form_are_refused_by_name(tmp_path, images, labels):
    path = tmp_path / "x.safetensors"
    content = {"images": images, "labels": labels}
    safetensors.torch.save_file(content, path, {"n_class": "10"})
    with pytest.raises(SplitError, match=r"x.safetensors: images .* expected uint8"):
        tensors.load(path)


@pytest.mark.parametrize("cut", [0, 5, -1])
def test_a_damaged_file_is_refused_by_name(split, tmp_path, cut):
    path = tmp_path / "x.safetensors"
    tensors.save(split, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(SplitError, match=r"x.safetensors: not a prepared split"):
        tensors.load(path)


def test_a_file_of_other_tensors_is_refused_by_name(tmp_path):
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({"weights": torch.zeros(3)}, path)
    with pytest.raises(SplitError, match=r"x.safetensors: not a prepared split"):
        tensors.load(path)
