import pytest
import torch

from defaults import DIGITS, model_params
from mnist_lstm.data.splits import Split, load_split, save_split, split_paths, to_input
from mnist_lstm.plumbing.errors import ParamsError, TensorFileError
from mnist_lstm.tensorfile import load_tensors

PARAMS = model_params()


def test_a_split_comes_back_as_it_was_saved(split, tmp_path):
    path = tmp_path / "train.safetensors"
    save_split(split, path)
    loaded = load_split(path, PARAMS)
    assert torch.equal(loaded.x, split.x)
    assert torch.equal(loaded.labels, split.labels)
    assert loaded.labels.dtype == torch.int64
    assert (loaded.classes, loaded.picture) == (DIGITS, "mnist")
    save_split(split, tmp_path / "again")
    assert path.read_bytes() == (tmp_path / "again").read_bytes()


def test_batches_hold_each_image_once_in_the_order_asked_for(split):
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    batches = list(split.batches(25, order))
    assert [len(y) for _, y in batches] == [25, 25, 10]
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    assert torch.equal(y, split.labels[order])
    assert torch.equal((x * 255).round().byte(), split.x[order])


def test_the_model_reads_greys_from_0_to_1():
    x = to_input(torch.tensor([[[0, 51, 255]]], dtype=torch.uint8))
    assert x.dtype == torch.float32
    assert x.tolist() == [[[0, pytest.approx(0.2), 1]]]


def test_a_missing_file_says_which_stage_writes_it(tmp_path):
    with pytest.raises(
        TensorFileError, match=r"train.safetensors: no such file; the stage `prepare"
    ):
        load_split(tmp_path / "train.safetensors", PARAMS)


@pytest.mark.parametrize(("n_class", "n_byte"), [(2, 1), (256, 1), (257, 2), (1000, 2)])
def test_labels_take_as_few_bytes_as_the_classes_need(tmp_path, n_class, n_byte):
    path = tmp_path / "x.safetensors"
    classes = tuple(f"class {i}" for i in range(n_class))
    labels = torch.arange(n_class)
    save_split(Split(torch.zeros(n_class, 1, 28).byte(), labels, classes), path)
    loaded = load_split(path, model_params(ydim=n_class))
    assert loaded.classes == classes
    assert torch.equal(loaded.labels, labels)
    tensors, _ = load_tensors(path, "prepare")
    assert tensors["labels"].element_size() == n_byte


def test_a_model_that_does_not_fit_the_data_is_refused_by_name(split, tmp_path):
    path = tmp_path / "x.safetensors"
    save_split(split, path)
    with pytest.raises(ParamsError) as caught:
        load_split(path, model_params(xdim=27, ydim=11))
    assert str(caught.value).splitlines() == [
        f"params.yaml: model.xdim must be 28, the width of the images in {path}, got 27",
        f"params.yaml: model.ydim must be 10, the number of classes in {path}, got 11",
    ]


def test_the_validation_split_is_found_where_one_was_held_out(split, tmp_path):
    for names in (["train", "test"], ["train", "valid", "test"]):
        for name in names:
            save_split(split, tmp_path / f"{name}.safetensors")
        found = split_paths(tmp_path)
        assert list(found) == names
        assert all(path.exists() for path in found.values())
