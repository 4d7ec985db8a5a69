"""How fast this project trains, beside the original notebook: ``make bench``.

Both train in turn, epoch by epoch, because the machines are noisy; each in a process of its
own, because how memory is kept holds for a whole process, and so does its peak. Writes
``results/speed-<machine>.json`` and puts its table into the pages that have a place for it.
``make bench QUICK=1`` takes some images and writes nothing; ``--tables`` measures nothing.

The timers bracket: `train`, the steps of an epoch, from the first batch to the last update;
`evaluate`, loss and accuracy on the train and the test split; `job`, the untrained model's
evaluation and five epochs, each with its evaluation, checkpoints in it, start-up not.
"""

import argparse
import gzip
import itertools
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import torch

from mnist_lstm.device import select_device, set_up
from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import ModelParams, load_params
from mnist_lstm.splits import load_split
from mnist_lstm.training.checkpoint import Checkpointer
from mnist_lstm.training.loop import Row, Run, fit, start_run

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
PAGES = [ROOT / name for name in ("README.md", "benchmarks/README.md", "benchmarks/LOG.md")]
QUICK = 6000  # images of each split
EPOCHS = 5
TURNS: list[Iterator[dict]] = []  # one, in a process that trains
# Ends the stage `train` where its first batch would begin.
START_UP = (
    "import runpy, sys, mnist_lstm.training.loop as loop; loop.fit = lambda *_: sys.exit()"
    "; runpy.run_path('stages/train.py', run_name='__main__'); sys.exit('no call of fit')"
)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="some images, no file")
    parser.add_argument("--tables", action="store_true", help="of what was measured")
    arguments = parser.parse_args()
    script.end_in_one_line()  # and the processes with it
    if not arguments.tables:
        with tempfile.TemporaryDirectory() as folder:
            result = measure(Path(folder) / "project", arguments.quick)
        print(table(result))
        if arguments.quick:
            return
        path = RESULTS / f"speed-{result['machine']}.json"
        path.write_text(json.dumps(result, indent=2) + "\n")
    for path in RESULTS.glob("speed-*.json"):
        update_pages(f"make bench: {path.name}", table(json.loads(path.read_text())))


def measure(project: Path, quick: bool) -> dict:
    """Return every figure of the last commit, cloned to ``project``."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(project)], check=True)
    before, _ = run_in(project, "dvc", "repro", "prepare", "describe")
    pipeline: dict[str, Any] = {"download_prepare_describe": before}
    os.chdir(project)  # params.yaml of the commit that is measured
    result = versions() | {"pipeline": pipeline} | compare(QUICK if quick else None)
    os.chdir(ROOT)
    if not quick:
        path = project / "params.yaml"
        path.write_text(path.read_text().replace("epochs: 5", "epochs: 1"))
        run_in(project, "dvc", "repro", "train")
        pipeline["evaluate_plot"], _ = run_in(project, "dvc", "repro")
        idle = [run_in(project, "dvc", "repro")[0] for _ in range(5)]
        starts = [run_in(project, sys.executable, "-c", START_UP)[0] for _ in range(5)]
        pipeline |= {"nothing_to_do": median(idle), "start_up": {"train": median(starts)}}
    return result


def run_in(project: Path, *command: str, **env: str) -> tuple[float, str]:
    """Run ``command`` in ``project``, on its code; return its seconds and output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "PYTHONPATH": "src"} | env
    start = time.perf_counter()
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)
    if done.returncode:
        said = f"{done.stdout}{done.stderr}".splitlines()
        raise UserError(f"{' '.join(command)} failed:", *said)
    return time.perf_counter() - start, done.stdout


def compare(n: int | None) -> dict:
    """Return the figures of both, trained in turn on ``n`` images of each split."""
    turns: dict[str, list[dict]] = defaultdict(list)
    for epoch, name, turn in take_turns(n):
        turns[name].append(turn)
        print(f"epoch {epoch} {name:9}{turn}", flush=True)
    return summary(n, turns)


def take_turns(n: int | None) -> Iterator[tuple[int, str, dict]]:
    """Yield each epoch, whose turn it is, and that turn's figures."""
    work: dict[str, tuple] = {
        "notebook": (notebook_epochs, Path("data/raw"), n),
        "project": (project_epochs, Path("data/prepared"), n),
        "product": (products_of_matrices,),
    }
    spawn = multiprocessing.get_context("spawn")
    processes = {name: ProcessPoolExecutor(1, spawn) for name in work}
    for epoch in range(EPOCHS + 1 if n is None else 3):
        pair = ["notebook", "project"] if epoch % 2 else ["project", "notebook"]
        for name in [*pair, *["product"] * 5]:
            yield epoch, name, processes[name].submit(next_turn, *work[name]).result()
    for process in processes.values():
        process.shutdown()


def summary(n: int | None, turns: dict[str, list[dict]]) -> dict:
    """Return the figures of both, of all their turns on ``n`` images of each split."""
    result = {name: figures(turns[name]) for name in ("notebook", "project")}
    result["images"] = {"train": n or 60_000, "evaluate": 2 * n if n else 70_000}
    ours = result["project"]
    ours["peak_gemm_flops"] = max(turn["flops"] for turn in turns["product"])
    flop = flop_a_step(load_params().model, result["images"]["train"], 28)
    ours["train_flops"] = flop / ours["train"]["median"]
    return result


def next_turn(work: Callable[..., Iterator[dict]], *arguments: object) -> dict:
    """Return what ``work``, begun by the first call in this process, yields next."""
    if not TURNS:
        TURNS.append(work(*arguments))
    return next(TURNS[0])


def figures(turns: list[dict]) -> dict:
    """Return median and spread of an epoch's seconds, and the whole job's."""
    found: dict[str, Any] = {}
    for name in ("train", "evaluate"):
        seconds = [turn[name] for turn in turns if turn[name]]  # the first trains nothing
        found[name] = {"median": median(seconds), "least": min(seconds)}
        found[name] |= {"most": max(seconds), "runs": len(seconds)}
    found["job"] = sum(turn["train"] + turn["evaluate"] for turn in turns)
    found["test_accuracy"] = [turn["test_accuracy"] for turn in turns]
    return found | turns[-1]["about"]


def notebook_epochs(raw: Path, n: int | None) -> Iterator[dict]:
    """Train as the notebook does; the first turn only evaluates, as does ours."""
    from notebook import Notebook  # here, for torchvision is no part of our memory

    # The loader's workers start as they would in a notebook, not as this process did.
    multiprocessing.set_start_method(None, force=True)
    device = select_device("auto")
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "MNIST/raw"
        folder.mkdir(parents=True)
        for path in raw.glob("*.gz"):
            with gzip.open(path) as packed, (folder / path.stem).open("wb") as plain:
                shutil.copyfileobj(packed, plain)
        notebook = Notebook(Path(root), device, n)
        for epoch in itertools.count():
            start = trained = clock(device)
            if epoch > 0:
                notebook.train_epoch()
                trained = clock(device)
            accuracy = {f"{k}_accuracy": notebook.accuracy(k) for k in ("train", "test")}
            seconds = {"train": trained - start, "evaluate": clock(device) - trained}
            yield seconds | accuracy | {"about": peak_memory()}


def project_epochs(prepared: Path, n: int | None) -> Iterator[dict]:
    """Train as the stage `train` does, checkpoints and all."""
    params = load_params()
    compute = set_up(params.train.device, params.train.precision, params.train.seed)
    about = {"machine": str(compute), "precision": compute.arithmetic}
    device, _ = compute
    paths = [prepared / f"{name}.safetensors" for name in ("train", "test")]
    splits = [load_split(path, params.model, device) for path in paths]
    train, test = [s.take(torch.arange(len(s), device=device)[:n]) for s in splits]
    run = start_run(params.model, params.train, params.augment, compute)
    run.fingerprint(train)  # as the stage does first: on a GPU, it loads the libraries
    with (
        tempfile.TemporaryDirectory() as folder,
        Checkpointer(Path(folder) / "checkpoints/key", run) as checkpointer,
    ):
        start = clock(device)
        for row in with_seconds(run, fit(run, train, test), checkpointer.save_if_due):
            yield {
                "train": row["seconds"],
                "evaluate": clock(device) - start - row["seconds"],
                "train_accuracy": row["train_accuracy"],
                "test_accuracy": row["heldout_accuracy"],
                "about": about | peak_memory(),
            }
            start = clock(device)


def with_seconds(
    run: Run, rows: Iterator[Row | None], between: Callable[[], None] = lambda: None
) -> Iterator[Row]:
    """Yield each epoch's row of ``fit`` with ``seconds``: of its steps, and ``between``."""
    device, seconds = next(run.model.parameters()).device, 0.0
    start = clock(device)
    for row in rows:
        between()
        if row:
            yield row | {"seconds": seconds}
            start, seconds = clock(device), 0.0
        elif run.epoch and not seconds and len(run.losses) == run.steps:
            seconds = clock(device) - start


def products_of_matrices() -> Iterator[dict]:
    """Multiply square matrices, in the precision that this project trains in."""
    params = load_params()
    device, precision = set_up(params.train.device, params.train.precision, 0)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    n = 2048 if device.type == "cpu" else 8192
    a, b = (torch.rand(n, n, device=device).to(dtype) for _ in range(2))
    while True:
        start = clock(device)
        a @ b
        yield {"flops": 2 * n**3 / (clock(device) - start)}


def flop_a_step(model: ModelParams, n: int, length: int) -> int:
    """Return the FLOP of a training step's matrix products, on ``n`` sequences."""
    widths = [model.xdim] + [model.hdim] * (model.n_layer - 1)
    gates = 2 * n * length * 4 * model.hdim
    forward = sum(gates * (width + model.hdim) for width in widths)
    # Backward for weights and for inputs, but the images: of them no gradient is wanted.
    return 3 * (forward + 2 * n * model.hdim * model.ydim) - gates * model.xdim


def clock(device: torch.device) -> float:
    """Return the time in seconds, once ``device`` has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory() -> dict:
    """Return the most memory that this process has held, in MB, and of a GPU."""
    divisor = 2**20 if sys.platform == "darwin" else 2**10
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / divisor
    found = {"peak_memory_mb": round(used)}
    if torch.cuda.is_initialized():
        found["peak_device_memory_mb"] = round(torch.cuda.max_memory_reserved() / 2**20)
    return found


def versions() -> dict[str, Any]:
    """Return the machine's name, the version of PyTorch, the processor."""
    capability, n = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    cuda = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if cuda else f"cpu-{capability}-{n}core"
    cpu = {"name": torch.cpu.get_capabilities().get("cpu_name", "unknown")}
    name = name.lower().replace(" ", "-")
    return {"machine": name, "torch": torch.__version__, "cpu": cpu}


def table(result: dict) -> str:
    """Return the figures as a table in Markdown."""
    theirs, ours, pipeline = (result[k] for k in ("notebook", "project", "pipeline"))
    epochs = len(ours["test_accuracy"]) - 1
    accuracy = [f"{way['test_accuracy'][-1]:.4f}" for way in (theirs, ours)]
    pace = {k: result["images"][k] / ours[k]["median"] for k in ("train", "evaluate")}
    lines = ["|  | notebook's way | this project | ratio |", "| --- | --- | --- | --- |"]
    form = "{median:.3g} s ({least:.3g}-{most:.3g})".format
    for k, title in (
        ("train", "training, an epoch"),
        ("evaluate", "evaluating both splits"),
    ):
        ratio = ours[k]["median"] / theirs[k]["median"]
        cells = f"{form(**theirs[k])} | {form(**ours[k])} | {ratio:.2f}"
        lines.append(f"| {title} | {cells} |")
    lines += [
        f"| the job: {epochs} epochs, {epochs + 1} evaluations | {theirs['job']:.3g} s "
        f"| {ours['job']:.3g} s | {ours['job'] / theirs['job']:.2f} |",
        *memory_rows(theirs, ours),
        f"| test accuracy | {' | '.join(accuracy)} |  |",
        "",
        f"{ours['machine']}, {result['cpu']['name']}. This project trains on "
        f"{pace['train']:,.0f} images/s and evaluates {pace['evaluate']:,.0f} images/s. "
        f"Training runs at {ours['train_flops'] / 1e9:.0f} GFLOP/s, "
        f"{ours['train_flops'] / ours['peak_gemm_flops']:.0%} of the "
        f"{ours['peak_gemm_flops'] / 1e9:.0f} GFLOP/s that a product of matrices reached "
        f"in the same run in {ours['precision']}.",
    ]
    if "start_up" in pipeline:
        rest = pipeline["download_prepare_describe"] + pipeline["evaluate_plot"]
        starts = ", ".join(f"{k} {v:.1f} s" for k, v in pipeline["start_up"].items())
        lines.append(
            f"All stages of `dvc repro` but training: {rest:.0f} s. With nothing to do: "
            f"{pipeline['nothing_to_do']:.1f} s. Start-up before the first work: {starts}."
        )
    return "\n".join(lines)


def memory_rows(theirs: dict, ours: dict) -> Iterator[str]:
    """Yield a row of the table for each kind of memory that both have used."""
    for key, title, more in (
        ("peak_memory_mb", "peak memory", " and a worker"),
        ("peak_device_memory_mb", "peak memory of the GPU", ""),
    ):
        if key in ours:
            a, b = theirs[key], ours[key]
            yield f"| {title} | {a} MB{more} | {b} MB | {b / a:.2f} |"


def update_pages(mark: str, text: str) -> None:
    """Put ``text`` into each page that has a place for it, between ``mark`` and its end."""
    begin, end = f"<!-- {mark} -->\n", f"\n<!-- {mark.partition(': ')[0]}: end -->"
    for path in PAGES:
        before, found, rest = path.read_text().partition(begin)
        if found:
            _, _, after = rest.partition(end)
            path.write_text(before + begin + text + end + after)


if __name__ == "__main__":
    script.run(main)
