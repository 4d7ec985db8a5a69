import pytest
import torch

from mnist_lstm import device
from mnist_lstm.device import DeviceError


def test_auto_takes_cuda_where_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert device.select("auto").type == expected


def test_cpu_is_the_cpu_and_says_so():
    assert device.select("cpu").type == "cpu"
    assert device.describe(device.select("cpu")).startswith("cpu (")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_an_error_that_names_the_parameter():
    with pytest.raises(
        DeviceError, match=r"params.yaml: train.device is cuda, but .* none|no "
    ):
        device.select("cuda")


def test_a_seed_fixes_what_is_drawn():
    device.make_deterministic(3)
    first = torch.rand(4)
    device.make_deterministic(3)
    assert torch.equal(torch.rand(4), first)
    assert torch.are_deterministic_algorithms_enabled()
