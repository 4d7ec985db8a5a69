import subprocess
import sys

import pytest
import torch

from mnist_lstm import device
from mnist_lstm.device import MemoryExhaustedError
from mnist_lstm.params import ParamsError


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
    assert device.select(name).type == chosen


def test_cuda_where_there_is_none_is_an_error_that_names_the_parameter(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParamsError) as caught:
        device.select("cuda")
    assert str(caught.value) == (
        "params.yaml: train.device must be auto or cpu where PyTorch finds no CUDA device, "
        "got 'cuda'"
    )


def test_the_cpu_says_that_it_is_the_cpu():
    assert device.describe(device.select("cpu"), "bf16") == (
        f"PyTorch {torch.__version__} on cpu "
        f"({torch.backends.cpu.get_cpu_capability()}, 1 threads, bf16)"
    )


@pytest.mark.cuda
def test_cuda_says_which_and_in_what_precision(monkeypatch):
    cuda = device.select("cuda")
    assert device.describe(cuda, "fp32").endswith(", fp32 as TF32)")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert device.describe(cuda, "fp32").endswith(", fp32)")
    assert device.describe(cuda, "bf16").endswith(", bf16)")


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_the_precision_that_is_asked_for_is_the_one_or_is_refused(name):
    """On a CPU with AVX2 at most, PyTorch has no LSTM in bf16."""
    lstm = torch.nn.LSTM(28, 16)
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
            lstm(torch.zeros(3, 2, 28))
    except RuntimeError:
        with pytest.raises(ParamsError) as caught:
            device.precision(name, torch.device("cpu"))
        assert str(caught.value) == (
            "params.yaml: train.precision must be auto or fp32: this CPU has no LSTM in "
            "bf16, got 'bf16'"
        )
    else:
        assert device.precision(name, torch.device("cpu")) == name
    assert device.precision(name, torch.device("cuda")) == name


def test_to_ask_for_bf16_draws_nothing():
    before = torch.get_rng_state()
    device._has_lstm_in_bf16()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("able", "used", "chosen"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "AVX512", "bf16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "AVX512", "bf16"),
        ({"avx512_bf16": False, "amx_bf16": False}, "AVX512", "fp32"),
        ({"avx512_bf16": True, "amx_bf16": True}, "AVX2", "fp32"),
        ({}, "DEFAULT", "fp32"),
    ],
)
def test_auto_is_bf16_where_the_cpu_computes_it_in_hardware(
    monkeypatch, able, used, chosen
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: used)
    assert device.precision("auto", torch.device("cpu")) == chosen
    assert device.precision("auto", torch.device("cuda")) == "fp32"


def page_faults(prepare):
    """Return how many pages the system hands out for 20 buffers of 64 MB, in turn."""
    code = (
        "import resource, torch\n"
        "from mnist_lstm import device\n"
        f"{prepare}\n"
        "for _ in range(20): torch.ones(2**24)\n"  # until the heap has its size
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(20): torch.ones(2**24)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    command = [sys.executable, "-c", code]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's setting")
def test_a_buffer_that_is_freed_is_not_asked_for_again():
    assert page_faults("device.keep_memory()") < 0.2 * page_faults("")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's function")
def test_what_is_kept_and_not_used_can_be_given_back():
    code = (
        "import re, torch\n"
        "from pathlib import Path\n"
        "from mnist_lstm import device\n"
        "def held():\n"
        "    status = Path('/proc/self/status').read_text()\n"
        "    return int(re.search(r'VmRSS:\\s+(\\d+)', status)[1]) / 1024\n"
        "device.keep_memory()\n"
        "before = held()\n"
        "big = [torch.ones(2**24) for _ in range(4)]\n"
        "small = torch.ones(2**10)\n"  # lies above, so that the heap cannot shrink
        "del big\n"
        "kept = held()\n"
        "device.trim_memory()\n"
        "print(kept - before > 200, held() - before < 50)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True True\n", done.stdout + done.stderr


def test_a_seed_fixes_what_is_drawn():
    said = device.make_deterministic(3)
    assert said == "seed 3, only deterministic algorithms, none chosen by timing"
    first = torch.rand(4)
    device.make_deterministic(3)
    assert torch.equal(torch.rand(4), first)
    assert torch.are_deterministic_algorithms_enabled()


ADVICE = "train.batch_size is 256; lower it"


def test_what_the_cpu_cannot_hold_is_one_line():
    with pytest.raises(MemoryExhaustedError) as caught, device.enough_memory(ADVICE):
        torch.empty(2**60)
    assert str(caught.value) == f"out of memory: {ADVICE}"


@pytest.mark.cuda
def test_what_cuda_cannot_hold_is_one_line():
    with pytest.raises(MemoryExhaustedError) as caught, device.enough_memory(ADVICE):
        torch.empty(2**40, device="cuda")
    assert str(caught.value) == f"CUDA is out of memory: {ADVICE}"


def test_another_error_stays_what_it_was():
    with pytest.raises(RuntimeError, match="shape"), device.enough_memory(ADVICE):
        torch.zeros(2).reshape(3)
