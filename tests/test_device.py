import os
import re
import subprocess
import sys
import warnings

import pytest
import torch

import conftest
from defaults import model_params
from mnist_lstm import device
from mnist_lstm.device import Compute
from mnist_lstm.models.lstm import LSTMClassifier
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


@pytest.fixture
def too_old(monkeypatch):
    """A driver that PyTorch cannot use: what it says then."""
    said = (
        "The NVIDIA driver on your system is too old (found version 11040). Please update "
        "your GPU driver by downloading and installing a new version"
    )

    def init():
        raise RuntimeError(said)

    def is_available():
        warnings.warn(f"CUDA initialization: {said}", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return (
        "The NVIDIA driver on your system is too old (found version 11040); "
        f"PyTorch {torch.__version__} is built for CUDA 13.2"
    )


@pytest.mark.filterwarnings("error")
def test_cuda_where_there_is_none_is_an_error_that_says_why(too_old):
    with pytest.raises(ParamsError) as caught:
        device.select_device("cuda")
    assert str(caught.value) == (
        f"params.yaml: train.device must be auto or cpu: {too_old}, got 'cuda'"
    )


@pytest.mark.filterwarnings("error")  # one line says it, not two
@pytest.mark.parametrize("hidden", [False, True])
def test_auto_says_why_it_computes_on_the_cpu_beside_a_gpu(
    too_old, monkeypatch, tmp_path, capsys, hidden
):
    """Not where there is no driver, nor where its devices are hidden on purpose."""
    monkeypatch.setattr(device.shutil, "which", lambda _: None)
    monkeypatch.setattr(device, "_DRIVER", tmp_path / "version")
    device.select_device("auto")
    assert capsys.readouterr().err == ""
    (tmp_path / "version").touch()
    if hidden:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert device.select_device("auto").type == "cpu"
    warning = "" if hidden else f"warning: computing on the CPU: {too_old}\n"
    assert capsys.readouterr().err == warning
    device.select_device("cpu")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("capability", "cudnn", "reason"),
    [
        ((9, 0), 91300, None),
        ((8, 0), 91206, "an LSTM in bf16 takes cuDNN 9.13 or later"),
        ((7, 5), 92600, "bf16 takes a GPU of compute capability 8.0 (Ampere) or later"),
    ],
)
def test_bf16_on_cuda_is_bf16_or_is_refused(monkeypatch, capability, cudnn, reason):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: cudnn)
    cuda = torch.device("cuda")
    assert device.select_precision("auto", cuda) == "fp32"
    assert device.select_precision("fp32", cuda) == "fp32"
    if reason:
        with pytest.raises(ParamsError, match=re.escape(reason)):
            device.select_precision("bf16", cuda)
    else:
        assert device.select_precision("bf16", cuda) == "bf16"


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_on_cuda_the_lstm_computes_in_the_precision_that_is_said(dropout, precision):
    """Autocast would take float16, whatever it was told."""
    model = LSTMClassifier(model_params(dropout=dropout), precision).to("cuda")
    x = torch.rand(64, 28, 28, device="cuda")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    assert model._run_layers(x).dtype == dtype
    logits = model(x)
    assert logits.dtype == torch.float32
    (1e-12 * logits.sum()).backward()
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}
    assert passed_on(model)


def passed_on(module):
    """Say whether each weight has a gradient that is not zero."""
    return all(p.grad.any() for p in module.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_gradient_of_1e_12_tells_float16_apart(dtype):
    """Its smallest number is 6e-8."""
    lstm = torch.nn.LSTM(28, 16).to(dtype)
    try:
        (1e-12 * lstm(torch.rand(28, 4, 28, dtype=dtype))[0].float().sum()).backward()
    except RuntimeError:
        pytest.skip(f"this CPU has no LSTM in {dtype}")
    assert passed_on(lstm) == (dtype != torch.float16)


def test_what_a_gpu_lacks_for_bf16_skips_the_tests_of_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert conftest.lacks({"precision": "fp32"}) == ""
    assert "bf16 takes a GPU of" in conftest.lacks({"precision": "bf16"})


def test_the_cpu_says_that_it_is_the_cpu():
    assert str(Compute(device.select_device("cpu"), "bf16")) == (
        f"PyTorch {torch.__version__} on cpu "
        f"({torch.backends.cpu.get_cpu_capability()}, 1 threads, bf16)"
    )


@pytest.mark.cuda
def test_cuda_says_which_and_in_what_precision(monkeypatch):
    cuda = device.select_device("cuda")
    ampere = torch.cuda.get_device_capability() >= (8, 0)
    said = ", fp32 as TF32)" if ampere else ", fp32)"
    assert str(Compute(cuda, "fp32")).endswith(said)
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
        "from mnist_lstm.models.lstm import LSTMClassifier\n"
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


TRAINS = """
import hashlib, sys, torch
sys.path.append("tests")
from defaults import DIGITS, augment_params, model_params, train_params
from mnist_lstm.device import set_up
from mnist_lstm.data.splits import Split
from mnist_lstm.training.loop import fit, start_run
compute = set_up("cpu", "fp32", 0)
images = torch.randint(0, 255, (60, 28, 28)).byte()
split = Split(images, torch.arange(60) % 10, DIGITS)
params = train_params(epochs=2, batch_size=16, precision="fp32")
run = start_run(model_params(hdim=16), params, augment_params(), compute)
list(fit(run, split, split))
weights = b"".join(v.detach().numpy().tobytes() for v in run.model.parameters())
print(compute, hashlib.sha256(weights).hexdigest())
"""


def test_training_takes_as_many_threads_as_openmp_gives():
    """Where it gives fewer than PyTorch asks for, oneDNN's gradients are wrong."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    limits = (
        ("OMP_NUM_THREADS", "1"),
        ("OMP_THREAD_LIMIT", "1"),
        ("OMP_MAX_ACTIVE_LEVELS", "0"),
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", TRAINS],
            env=env | {"PYTHONPATH": "src", name: value},
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, value in limits
    ]
    (first, *others) = [run.communicate()[0] for run in runs]
    assert " 1 threads, fp32) " in first
    assert others == [first, first]


@pytest.mark.skipif(sys.platform != "linux", reason="no OpenMP of GNU's")
def test_threads_that_come_and_go_with_the_machines_load_are_asked_for_no_more():
    code = (
        "import ctypes, torch; from mnist_lstm.device import set_up\n"
        "dynamic = ctypes.CDLL(None).omp_get_dynamic\n"
        "before = dynamic(); set_up('cpu', 'fp32', 0); print(before, dynamic())"
    )
    env = os.environ | {"PYTHONPATH": "src", "OMP_DYNAMIC": "true"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout == "1 0\n"
