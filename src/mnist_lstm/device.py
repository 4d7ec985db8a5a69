"""The device to compute on, the precision, and what makes a run repeat bit for bit."""

import contextlib
import ctypes
import os
from typing import NamedTuple

import torch

from mnist_lstm.plumbing.errors import UserError

# from malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


class Compute(NamedTuple):
    """What computes, and in which precision: fp32 or bf16."""

    device: torch.device
    precision: str

    def __str__(self) -> str:
        """Say what the bits of a result depend on beside the code: software and device."""
        if self.device.type == "cuda":
            name, cudnn = torch.cuda.get_device_name(), torch.backends.cudnn.version()
            on = f"cuda ({name}, cuDNN {cudnn}, {self.arithmetic})"
        else:
            capability = torch.backends.cpu.get_cpu_capability()
            on = f"cpu ({capability}, {torch.get_num_threads()} threads, {self.arithmetic})"
        return f"PyTorch {torch.__version__} on {on}"

    @property
    def arithmetic(self) -> str:
        """The precision, and TF32 where an LSTM in fp32 is multiplied in that."""
        if self.precision != "fp32" or self.device.type != "cuda":
            return self.precision
        ampere = torch.cuda.get_device_capability() >= (8, 0)
        return "fp32 as TF32" if ampere and torch.backends.cudnn.allow_tf32 else "fp32"


def set_up(device: str, precision: str, seed: int) -> Compute:
    """Seed PyTorch and choose what computes, as params.yaml says, before any of it is used.

    Raises:
        UserError: a device or a precision that this machine does not have.
    """
    make_deterministic(seed)
    take_threads_that_are_given()
    chosen = select_device(device)
    return Compute(chosen, select_precision(precision, chosen))


def take_threads_that_are_given() -> None:
    """Compute on no more threads than OpenMP gives, whatever the environment has told it.

    PyTorch asks for a thread a core. Where OpenMP gives fewer (``OMP_THREAD_LIMIT``,
    ``OMP_MAX_ACTIVE_LEVELS=0``; ``OMP_DYNAMIC`` by the machine's load), oneDNN leaves out
    the work of those that are missing, and the gradients are wrong.
    """
    openmp = ctypes.CDLL(None)  # the one that PyTorch has loaded
    if not hasattr(openmp, "omp_get_thread_limit"):  # it computes without
        return
    openmp.omp_set_dynamic(False)
    given = openmp.omp_get_thread_limit() if openmp.omp_get_max_active_levels() else 1
    if given < torch.get_num_threads():
        torch.set_num_threads(given)


def select_device(name: str) -> torch.device:
    """Return the device for ``name``: ``auto`` is CUDA where there is one, else the CPU.

    Where NVIDIA's driver is there and PyTorch cannot use it, PyTorch itself warns.
    """
    if name != "cpu" and torch.cuda.is_available():
        return torch.device("cuda")
    if name == "cuda":
        raise UserError(
            f"params.yaml: train.device must be auto or cpu: PyTorch {torch.__version__} "
            "finds no CUDA device, got 'cuda'"
        )
    return torch.device("cpu")


def select_precision(name: str, device: torch.device) -> str:
    """Return the precision to compute in, ``fp32`` or ``bf16``, for ``name``.

    ``auto`` is bf16 on a CPU that multiplies it in hardware: faster, and as accurate (see
    benchmarks/LOG.md). On CUDA it is fp32, until bf16 is measured there.
    """
    if name == "bf16" and (lack := lacks_for_bf16(device)):
        raise UserError(
            f"params.yaml: train.precision must be auto or fp32: {lack}, got 'bf16'"
        )
    if name != "auto":
        return name
    if device.type == "cuda":
        return "fp32"
    able = torch.cpu.get_capabilities()
    native = able.get("avx512_bf16") or able.get("amx_bf16")
    # The environment may ask oneDNN for less than the processor can do.
    return "bf16" if native and not lacks_for_bf16(device) else "fp32"


def lacks_for_bf16(device: torch.device) -> str:
    """Return what ``device`` lacks to train an LSTM in bf16; nothing where it can."""
    if device.type == "cuda":
        ampere = torch.cuda.get_device_capability() >= (8, 0)
        return "" if ampere else "bf16 takes a GPU of compute capability 8.0 or later"
    # On a CPU, only trying tells.
    x = torch.zeros(1, 1, 1)
    sizes = ((4, 1), (4, 1), (4,), (4,))
    weights = [torch.zeros(size, requires_grad=True) for size in sizes]
    with torch.autocast("cpu", torch.bfloat16):
        try:
            y, *_ = torch.lstm(x, (x, x), weights, True, 1, 0.0, True, False, True)
            y.sum().backward()
        except RuntimeError:
            return "this CPU has no LSTM in bf16"
    return ""


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


def retain_freed_memory() -> None:
    """Have the process keep the memory that it frees, for the next step.

    The C library otherwise gives a big buffer back to the system at once and asks for it
    anew in the next step, page by page: a sixth to a quarter of a training step on a CPU,
    and up to 30% of an evaluation.
    Only glibc (Linux) has the two settings; elsewhere this does nothing.
    Source: https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def release_freed_memory() -> None:
    """Give the system back what the process keeps and does not use, on glibc.

    Kept memory that one kind of work leaves in pieces is no use to the next kind.
    Source: https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
