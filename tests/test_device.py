import os
import subprocess
import sys

import pytest
import torch

from defaults import model_params
from mnist_lstm import device
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.plumbing.errors import UserError


def test_auto_takes_cuda_where_there_is_one(monkeypatch):
    chosen = {"auto": "cuda", "cuda": "cuda", "cpu": "cpu"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert {name: device.select_device(name).type for name in chosen} == chosen
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert {device.select_device(name).type for name in ("auto", "cpu")} == {"cpu"}
    with pytest.raises(
        UserError, match=r"must be auto or cpu: PyTorch .* finds no CUDA de"
    ):
        device.select_device("cuda")


def test_on_cuda_auto_is_fp32_and_bf16_takes_an_ampere(monkeypatch):
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    chosen = {"auto": "fp32", "fp32": "fp32", "bf16": "bf16"}
    assert {name: device.select_precision(name, cuda) for name in chosen} == chosen
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    with pytest.raises(UserError, match=r"capability 8.0 or later, got 'bf16'"):
        device.select_precision("bf16", cuda)


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
    assert all(p.grad.any() for p in model.parameters())  # float16 ends at 6e-8


def test_a_cpu_that_has_no_lstm_in_bf16_is_told_so_and_trying_it_draws_nothing(monkeypatch):
    """As one with AVX2 at most."""
    before = torch.get_rng_state()
    device.lacks_for_bf16(torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)

    def refuse(*_):
        raise RuntimeError("could not create a primitive")

    monkeypatch.setattr(torch, "lstm", refuse)
    with pytest.raises(UserError, match=r"precision must be .* no LSTM in bf16, got"):
        device.select_precision("bf16", torch.device("cpu"))


@pytest.mark.parametrize(
    ("able", "runs", "chosen"),
    [
        ({"avx512_bf16": True}, True, "bf16"),
        # as under ONEDNN_MAX_CPU_ISA=AVX2, which only trying tells
        ({"avx512_bf16": True}, False, "fp32"),
        ({}, True, "fp32"),
    ],
)
def test_auto_is_bf16_where_the_cpu_computes_it_in_hardware(
    monkeypatch, able, runs, chosen
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    monkeypatch.setattr(device, "lacks_for_bf16", lambda _: "" if runs else "all")
    assert device.select_precision("auto", torch.device("cpu")) == chosen


TRAINS = """
import ctypes, hashlib, sys, torch
from defaults import DIGITS, augment_params, model_params, train_params
from mnist_lstm.device import set_up
from mnist_lstm.data.splits import Split
from mnist_lstm.training.loop import fit, start_run
compute = set_up("cpu", sys.argv[1], 0)
images = torch.randint(0, 255, (60, 28, 28)).byte()
split = Split(images, torch.arange(60) % 10, DIGITS)
params = train_params(epochs=2, batch_size=16)
run = start_run(model_params(hdim=64), params, augment_params(), compute)
list(fit(run, split, split))
weights = b"".join(v.detach().numpy().tobytes() for v in run.model.parameters())
is_dynamic = getattr(ctypes.CDLL(None), "omp_get_dynamic", int)()
print(compute, hashlib.sha256(weights).hexdigest(), is_dynamic)
"""


@pytest.mark.long
def test_training_is_right_whatever_openmp_and_onednn_are_told():
    """Where OpenMP gives fewer threads than PyTorch asks for, gradients would be wrong.

    What oneDNN is told changes no capability that PyTorch sees: only trying bf16 tells.
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    env["PYTHONPATH"] = os.pathsep.join(["src", "tests"])
    told = [
        ("fp32", {"OMP_NUM_THREADS": "1"}),
        ("fp32", {"OMP_THREAD_LIMIT": "1"}),
        ("fp32", {"OMP_MAX_ACTIVE_LEVELS": "0"}),
        ("fp32", {"OMP_NUM_THREADS": "1", "OMP_DYNAMIC": "true"}),
        ("auto", {"OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    ]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", TRAINS, precision],
            env=env | values,
            stdout=subprocess.PIPE,
            text=True,
        )
        for precision, values in told
    ]
    (first, *others, avx2) = [run.communicate()[0] for run in runs]
    assert " 1 threads, fp32) " in first
    assert first.endswith(" 0\n")  # the number of threads does not follow the load
    assert others == [first] * 3
    assert avx2
