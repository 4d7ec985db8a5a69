import os
import subprocess
import sys

import pytest
import torch

from mnist_lstm import device
from mnist_lstm.device import Compute
from mnist_lstm.plumbing.errors import ParamsError


@pytest.mark.parametrize(
    ("there", "name", "chosen"),
    [
        (True, "auto", "cuda"),
        (True, "cuda", "cuda"),
        (True, "cpu", "cpu"),
        (False, "auto", "cpu"),
        (False, "cpu", "cpu"),
    ],
)
def test_auto_takes_cuda_where_there_is_one(monkeypatch, there, name, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert device.select_device(name).type == chosen


def test_cuda_where_there_is_none_is_an_error_that_names_the_parameter(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParamsError) as caught:
        device.select_device("cuda")
    assert str(caught.value) == (
        "params.yaml: train.device must be auto or cpu where PyTorch finds no CUDA device, "
        "got 'cuda'"
    )


def test_the_cpu_says_that_it_is_the_cpu():
    assert str(Compute(device.select_device("cpu"), "bf16")) == (
        f"PyTorch {torch.__version__} on cpu "
        f"({torch.backends.cpu.get_cpu_capability()}, 1 threads, bf16)"
    )


@pytest.mark.cuda
def test_cuda_says_which_and_in_what_precision(monkeypatch):
    cuda = device.select_device("cuda")
    assert str(Compute(cuda, "fp32")).endswith(", fp32 as TF32)")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert str(Compute(cuda, "fp32")).endswith(", fp32)")
    assert str(Compute(cuda, "bf16")).endswith(", bf16)")


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_the_precision_that_is_asked_for_is_the_one_or_is_refused(name):
    """On a CPU with AVX2 at most, PyTorch has no LSTM in bf16."""
    lstm = torch.nn.LSTM(28, 16)
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
            lstm(torch.zeros(3, 2, 28))
    except RuntimeError:
        with pytest.raises(ParamsError) as caught:
            device.select_precision(name, torch.device("cpu"))
        assert str(caught.value) == (
            "params.yaml: train.precision must be auto or fp32: this CPU has no LSTM in "
            "bf16, got 'bf16'"
        )
    else:
        assert device.select_precision(name, torch.device("cpu")) == name
    assert device.select_precision(name, torch.device("cuda")) == name


def test_probing_for_bf16_draws_no_random_number():
    before = torch.get_rng_state()
    device._has_lstm_in_bf16()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("able", "used", "runs", "chosen"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "AVX512", True, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "AVX512", True, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": False}, "AVX512", True, "fp32"),
        ({"avx512_bf16": True, "amx_bf16": True}, "AVX2", True, "fp32"),
        # as under ONEDNN_MAX_CPU_ISA=AVX2, which only trying tells
        ({"avx512_bf16": True, "amx_bf16": True}, "AVX512", False, "fp32"),
        ({}, "DEFAULT", True, "fp32"),
    ],
)
def test_auto_is_bf16_where_the_cpu_computes_it_in_hardware(
    monkeypatch, able, used, runs, chosen
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: used)
    monkeypatch.setattr(device, "_has_lstm_in_bf16", lambda: runs)
    assert device.select_precision("auto", torch.device("cpu")) == chosen
    assert device.select_precision("auto", torch.device("cuda")) == "fp32"


def test_auto_trains_whatever_the_environment_forbids():
    """PyTorch's own capability does not change with what oneDNN is told."""
    code = (
        "import torch; from mnist_lstm import device\n"
        "from mnist_lstm.model import LSTMClassifier\n"
        "from defaults import model_params\n"
        "compute = device.set_up('cpu', 'auto', 0)\n"
        "model = LSTMClassifier(model_params(hdim=64), compute.precision)\n"
        "model(torch.rand(8, 28, 28)).sum().backward()"
    )
    told = {"ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": os.pathsep.join(["src", "tests"])}
    subprocess.run([sys.executable, "-c", code], env=os.environ | told, check=True)


def test_a_seed_fixes_what_is_drawn():
    device.make_deterministic(3)
    first = torch.rand(4)
    device.make_deterministic(3)
    assert torch.equal(torch.rand(4), first)
    assert torch.are_deterministic_algorithms_enabled()
