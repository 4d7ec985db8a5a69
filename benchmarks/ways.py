"""The two ways to train that are compared, each in a process of its own.

In turn, epoch by epoch, because the machines are noisy; in processes of their own, because
the way that memory is kept holds for a whole process, and so does its peak.
"""

import gzip
import itertools
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import torch

import study
from mnist_lstm import checkpoint, device, model, params, preparation, tensors, training


class Way:
    """A process that trains one way; each request is answered with figures of its work."""

    def __init__(self, work: Callable, *arguments: object):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, *arguments))
        self.process.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.pipe.send(None)
        self.process.join()

    def ask(self, what: str) -> dict:
        """Return what the process answers; ``what`` is one of its ``answers``."""
        self.pipe.send(what)
        return self.pipe.recv()


def serve(pipe: object, answers: dict[str, Callable[[], dict]]) -> None:
    """Answer requests until there are no more."""
    while (what := pipe.recv()) is not None:
        pipe.send(answers[what]())


def memory() -> dict:
    """Return the most memory that this process has held, in MB."""
    divisor = 2**20 if sys.platform == "darwin" else 2**10
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / divisor
    found = {"peak_memory_mb": round(used)}
    if torch.cuda.is_initialized():
        found["peak_cuda_memory_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return found


def seconds(on: torch.device, work: Callable) -> float:
    """Return how long ``work`` takes, until the device has done it."""
    if on.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if on.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def notebook(pipe: object, raw: Path, n: int | None) -> None:
    """The notebook's way: its first turn only evaluates, as does ours."""
    import notebook

    # The loader's workers start as they would in a notebook, not as this process did.
    multiprocessing.set_start_method(None, force=True)
    on = device.select("auto")
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "MNIST" / "raw"
        folder.mkdir(parents=True)
        for path in raw.glob("*.gz"):
            with gzip.open(path) as packed, (folder / path.stem).open("wb") as plain:
                shutil.copyfileobj(packed, plain)
        job = notebook.Notebook(Path(root), on, n)
        begun = False

        def turn() -> dict:
            nonlocal begun
            found = {"train": seconds(on, job.epoch)} if begun else {}
            begun = True

            def judge() -> None:
                for name in ("train", "test"):
                    found[f"{name}_accuracy"] = job.accuracy(name)

            found["evaluate"] = seconds(on, judge)
            return found

        serve(pipe, {"turn": turn, "memory": memory})


def project(pipe: object, prepared: Path, n: int | None) -> None:
    """This project's way: what the stage `train` runs, checkpoints and all."""
    settings = params.load()
    device.make_deterministic(settings.train.seed)
    on = device.select(settings.train.device)
    precision = device.precision(settings.train.precision, on)
    splits = [tensors.load(prepared / f"{k}.safetensors", on) for k in ("train", "test")]
    if n is not None:
        splits = [
            split.take(torch.arange(min(n, len(split)), device=on)) for split in splits
        ]
    device.keep_memory()
    sizes = settings.model.model_dump()
    run = training.Run(
        model.LSTMClassifier(**sizes, precision=precision).to(on),
        settings.train,
        settings.augment,
    )
    found = {}

    train_epoch = training.train_epoch

    def timed(*arguments: object) -> float:
        loss = []
        found["train"] = seconds(on, lambda: loss.append(train_epoch(*arguments)))
        return loss[0]

    training.train_epoch = timed
    with (
        tempfile.TemporaryDirectory() as scratch,
        checkpoint.Keeper(Path(scratch) / "checkpoints", "key", run) as keeper,
    ):
        rows = training.fit(run, *splits, keeper.tick)

        def turn() -> dict:
            found.clear()
            row = {}

            def work() -> None:
                row.update(next(rows))
                keeper.save()

            whole = seconds(on, work)
            found["evaluate"] = whole - found.get("train", 0.0)
            found["train_accuracy"] = row["train_accuracy"]
            found["test_accuracy"] = row["heldout_accuracy"]
            return dict(found)

        def about() -> dict:
            return {"machine": device.describe(on, precision), "precision": precision}

        serve(pipe, {"turn": turn, "memory": memory, "about": about})


def recipe(pipe: object, name: str, raw: Path, n: int | None) -> None:
    """A recipe of this project: each turn is its whole training, with the next seed."""
    overrides = study.read(Path("recipes", name))
    settings = study.overridden(params.load(), overrides)
    on = device.select(settings.train.device)
    precision = device.precision(settings.train.precision, on)
    splits = [split.take(torch.arange(len(split))[:n]) for split in preparation.read(raw)]
    splits = [split.to(on) for split in splits]
    device.keep_memory()
    seeds = itertools.count()

    def turn() -> dict:
        found = study.run(settings, next(seeds), on, precision, *splits)
        return {
            "train": sum(found["seconds"]),
            "test_accuracy": found["heldout_accuracy"][-1],
        }

    serve(pipe, {"turn": turn})


def gemm(pipe: object) -> None:
    """What the device can do at most, in the precision that this project trains in."""
    settings = params.load()
    on = device.select(settings.train.device)
    precision = device.precision(settings.train.precision, on)
    serve(pipe, {"peak": lambda: peak_gemm(on, precision)})


def peak_gemm(on: torch.device, precision: str) -> dict:
    """Return FLOP/s of the best of some products of two square matrices."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if on.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    best = 0.0
    for n in (2048,) if on.type == "cpu" else (4096, 8192):
        a, b = (torch.rand(n, n, device=on).to(dtype) for _ in range(2))
        for _ in range(5):
            best = max(best, 2 * n**3 / seconds(on, lambda a=a, b=b: a @ b))
    return {"peak_gemm_flops": best}


def flop_a_step(model: params.ModelParams, n: int, length: int) -> int:
    """Return the floating-point operations of a training step on ``n`` sequences.

    The matrix products alone: forward once, backward for the weights and for the inputs,
    but for the images, of which no gradient is wanted.
    """
    forward = 0
    for layer in range(model.n_layer):
        width = model.hdim if layer else model.xdim
        forward += 2 * n * length * 4 * model.hdim * (width + model.hdim)
    images = 2 * n * length * 4 * model.hdim * model.xdim
    classify = 2 * n * model.hdim * model.ydim
    return 3 * (forward + classify) - images
