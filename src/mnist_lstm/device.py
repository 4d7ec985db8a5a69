"""The device to compute on, the precision, and what makes a run repeat bit for bit."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mnist_lstm.errors import UserError
from mnist_lstm.params import misfit

# from malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


class MemoryExhaustedError(UserError):
    """More memory was asked for than the device has; says what to lower."""


def select(name: str) -> torch.device:
    """Return the device for ``name``: ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        ParamsError: ``cuda`` where there is none.
    """
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise misfit("train.device", "auto or cpu where PyTorch finds no CUDA device", name)
    return torch.device("cuda" if name != "cpu" and found else "cpu")


def precision(name: str, device: torch.device) -> str:
    """Return the precision to compute in, ``fp32`` or ``bf16``, for ``name``.

    ``auto`` is bf16 on a CPU that multiplies it in hardware: faster, and as accurate (see
    benchmarks/README.md). On CUDA it is fp32, until bf16 is measured there.

    Raises:
        ParamsError: ``bf16`` on a CPU on which PyTorch has no LSTM in it.
    """
    if name == "bf16" and device.type == "cpu" and not _has_lstm_in_bf16():
        raise misfit("train.precision", "auto or fp32: this CPU has no LSTM in bf16", name)
    if name != "auto":
        return name
    able = torch.cpu.get_capabilities()
    native = able.get("avx512_bf16") or able.get("amx_bf16")
    # The environment may ask PyTorch for less than the processor can do.
    used = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return "bf16" if device.type == "cpu" and native and used else "fp32"


def _has_lstm_in_bf16() -> bool:
    """Say whether the CPU runs an LSTM in bf16; only trying tells."""
    x = torch.zeros(1, 1, 1)
    weights = [torch.zeros(4, 1), torch.zeros(4, 1), torch.zeros(4), torch.zeros(4)]
    with torch.autocast("cpu", torch.bfloat16):
        try:
            torch.lstm(x, (x, x), weights, True, 1, 0.0, False, False, True)
        except RuntimeError:
            return False
    return True


def describe(device: torch.device, precision: str) -> str:
    """Return what the bits of a result depend on beside the code: software and device."""
    if device.type == "cuda":
        ampere = torch.cuda.get_device_capability(device) >= (8, 0)
        if precision == "fp32" and ampere and torch.backends.cudnn.allow_tf32:
            precision = "fp32 as TF32"
        kind = f"cuda ({torch.cuda.get_device_name(device)}, {precision})"
    else:
        capability = torch.backends.cpu.get_cpu_capability()
        kind = f"cpu ({capability}, {torch.get_num_threads()} threads, {precision})"
    return f"PyTorch {torch.__version__} on {kind}"


def make_deterministic(seed: int) -> str:
    """Seed every generator of PyTorch and allow only algorithms that repeat.

    Call it before the first use of CUDA: cuBLAS reads its workspace setting once.
    Source: https://pytorch.org/docs/stable/notes/randomness.html

    Returns:
        What was set up, for the terminal.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    # use_deterministic_algorithms(True) by another name, which does not import the compiler
    # and so starts two seconds sooner
    torch.set_deterministic_debug_mode("error")
    # Filling fresh tensors with NaN costs time and serves only to catch reads of
    # uninitialised memory; the results are the same without.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False  # else timing chooses the algorithm
    torch.manual_seed(seed)
    return f"seed {seed}, only deterministic algorithms, none chosen by timing"


def keep_memory() -> None:
    """Have the process keep the memory that it frees, for the next step.

    The C library otherwise gives a big buffer back to the system at once and asks for it
    anew in the next step, page by page: a sixth to a quarter of a training step on a CPU.
    Only glibc (Linux) has the two settings; elsewhere this does nothing.
    Source: https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def trim_memory() -> None:
    """Give the system back what the process keeps and does not use, on glibc.

    Kept memory that one kind of work leaves in pieces is no use to the next kind.
    Source: https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Tell in one line, ending in ``advice``, that the device has too little memory.

    Raises:
        MemoryExhaustedError: where PyTorch or Python ran out of memory.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise MemoryExhaustedError(f"CUDA is out of memory: {advice}") from None
    except MemoryError:
        raise MemoryExhaustedError(f"out of memory: {advice}") from None
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # PyTorch has no type for the CPU's
            raise
        raise MemoryExhaustedError(f"out of memory: {advice}") from None
