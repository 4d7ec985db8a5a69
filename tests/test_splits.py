import pytest
import torch

from defaults import model_params
from mnist_lstm.data.splits import Split, load_split, save_split
from mnist_lstm.plumbing.errors import ParamsError
from mnist_lstm.tensorfile import load_tensors


@pytest.mark.parametrize(("n_class", "n_byte"), [(10, 1), (256, 1), (257, 2)])
def test_a_split_comes_back_as_it_was_saved(tmp_path, n_class, n_byte):
    """Its labels take as few bytes as the classes need."""
    classes, path = tuple(map(str, range(n_class))), tmp_path / "train.safetensors"
    images = torch.arange(28).byte().expand(n_class, 28, 28)
    split = Split(images, torch.arange(n_class), classes)
    save_split(split, path)
    loaded = load_split(path, model_params(ydim=n_class))
    assert torch.equal(loaded.x, split.x)
    assert torch.equal(loaded.labels, split.labels)
    assert (loaded.classes, loaded.picture) == (classes, "mnist")
    assert load_tensors(path, "prepare")[0]["labels"].element_size() == n_byte
    save_split(split, tmp_path / "again")
    assert path.read_bytes() == (tmp_path / "again").read_bytes()


def test_batches_hold_each_image_once_in_the_order_asked_for(split):
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    batches = list(split.batches(25, order))
    assert [len(y) for _, y in batches] == [25, 25, 10]
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    assert torch.equal(y, split.labels[order])
    assert x.dtype == torch.float32
    assert torch.equal(x * 255, split.x[order].float())  # greys from 0 to 1


def test_a_model_that_does_not_fit_the_data_is_refused_by_name(split, tmp_path):
    path = tmp_path / "x.safetensors"
    save_split(split, path)
    with pytest.raises(ParamsError) as caught:
        load_split(path, model_params(xdim=27, ydim=11))
    assert str(caught.value).splitlines() == [
        f"params.yaml: model.xdim must be 28, the width of the images in {path}, got 27",
        f"params.yaml: model.ydim must be 10, the number of classes in {path}, got 11",
    ]
