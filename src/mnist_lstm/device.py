"""The device to compute on, and what makes a run on it repeat bit for bit."""

import os

import torch

from mnist_lstm.errors import UserError


class DeviceError(UserError):
    """A device that was asked for by name and is not there."""


def select(name: str) -> torch.device:
    """Return the device for ``name``: ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        DeviceError: ``cuda`` where there is none.
    """
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise DeviceError(
            "params.yaml: train.device is cuda, but PyTorch "
            f"{torch.__version__} finds no CUDA device here; use auto or cpu"
        )
    return torch.device("cuda" if name != "cpu" and found else "cpu")


def describe(device: torch.device) -> str:
    """Return the device in words, for the terminal."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
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
