"""The device to compute on, and what makes a run on it repeat bit for bit."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mnist_lstm.errors import UserError
from mnist_lstm.params import misfit


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


def describe(device: torch.device) -> str:
    """Return what the bits of a result depend on beside the code: software and device."""
    if device.type == "cuda":
        ampere = torch.cuda.get_device_capability(device) >= (8, 0)
        precision = "TF32" if ampere and torch.backends.cudnn.allow_tf32 else "float32"
        kind = f"cuda ({torch.cuda.get_device_name(device)}, {precision})"
    else:
        capability = torch.backends.cpu.get_cpu_capability()
        kind = f"cpu ({capability}, {torch.get_num_threads()} threads)"
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
