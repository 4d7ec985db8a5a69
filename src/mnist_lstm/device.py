"""The device to compute on, and what makes a run on it repeat bit for bit."""

import os

import torch

from mnist_lstm.params import misfit


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
    """Return the device in words, for the terminal; on CUDA with the LSTM's precision."""
    if device.type == "cuda":
        ampere = torch.cuda.get_device_capability(device) >= (8, 0)
        precision = "TF32" if ampere and torch.backends.cudnn.allow_tf32 else "float32"
        return f"cuda ({torch.cuda.get_device_name(device)}, {precision})"
    return f"cpu ({torch.get_num_threads()} threads)"


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
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False  # else timing chooses the algorithm
    torch.manual_seed(seed)
