"""The device to compute on, the precision, and what makes a run repeat bit for bit."""

import os
from typing import NamedTuple

import torch

from mnist_lstm.plumbing.errors import ParamsError


class Compute(NamedTuple):
    """What computes, and in which precision: fp32 or bf16."""

    device: torch.device
    precision: str

    def __str__(self) -> str:
        """Say what the bits of a result depend on beside the code: software and device."""
        return f"PyTorch {torch.__version__} on {_describe(self.device, self.precision)}"


def set_up(device: str, precision: str, seed: int) -> Compute:
    """Seed PyTorch and choose what computes, before any of it is used.

    Args:
        device: ``auto`` (CUDA where there is one, else the CPU), ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32`` or ``bf16``; see :func:`select_precision`.
        seed: of every generator of PyTorch.

    Raises:
        ParamsError: a device or a precision that this machine does not have.
    """
    make_deterministic(seed)
    chosen = select_device(device)
    return Compute(chosen, select_precision(precision, chosen))


def select_device(name: str) -> torch.device:
    """Return the device for ``name``: ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        ParamsError: ``cuda`` where there is none.
    """
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ParamsError.no_cuda(name)
    return torch.device("cuda" if name != "cpu" and found else "cpu")


def select_precision(name: str, device: torch.device) -> str:
    """Return the precision to compute in, ``fp32`` or ``bf16``, for ``name``.

    ``auto`` is bf16 on a CPU that multiplies it in hardware: faster, and as accurate (see
    benchmarks/LOG.md). On CUDA it is fp32, until bf16 is measured there.

    Raises:
        ParamsError: ``bf16`` on a CPU on which PyTorch has no LSTM in it.
    """
    if device.type != "cpu":
        return "fp32" if name == "auto" else name
    if name == "bf16" and not _has_lstm_in_bf16():
        raise ParamsError.no_bf16(name)
    if name != "auto":
        return name
    able = torch.cpu.get_capabilities()
    native = able.get("avx512_bf16") or able.get("amx_bf16")
    # The environment may ask PyTorch, or oneDNN, for less than the processor can do.
    used = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return "bf16" if native and used and _has_lstm_in_bf16() else "fp32"


def _has_lstm_in_bf16() -> bool:
    """Say whether the CPU trains an LSTM in bf16; only trying tells."""
    x = torch.zeros(1, 1, 1)
    sizes = ((4, 1), (4, 1), (4,), (4,))
    weights = [torch.zeros(size, requires_grad=True) for size in sizes]
    with torch.autocast("cpu", torch.bfloat16):
        try:
            y, *_ = torch.lstm(x, (x, x), weights, True, 1, 0.0, True, False, True)
            y.sum().backward()
        except RuntimeError:
            return False
    return True


def _describe(device: torch.device, precision: str) -> str:
    if device.type == "cuda":
        ampere = torch.cuda.get_device_capability(device) >= (8, 0)
        if precision == "fp32" and ampere and torch.backends.cudnn.allow_tf32:
            precision = "fp32 as TF32"
        return f"cuda ({torch.cuda.get_device_name(device)}, {precision})"
    capability = torch.backends.cpu.get_cpu_capability()
    return f"cpu ({capability}, {torch.get_num_threads()} threads, {precision})"


def make_deterministic(seed: int) -> None:
    """Seed every generator of PyTorch and allow only algorithms that repeat.

    Call it before the first use of CUDA: cuBLAS reads its workspace setting once.
    Source: https://pytorch.org/docs/stable/notes/randomness.html
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    # use_deterministic_algorithms(True) by another name, which does not import the compiler
    # and so starts two seconds sooner
    torch.set_deterministic_debug_mode("error")
    # Filling fresh tensors with NaN costs time and serves only to catch reads of
    # uninitialised memory; the results are the same without.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False  # else timing chooses the algorithm
    torch.manual_seed(seed)
