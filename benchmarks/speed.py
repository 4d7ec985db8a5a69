"""How fast this project trains, beside the original notebook: ``make bench``.

Both train in turn, epoch by epoch, because the machines are noisy; each in a process of its
own, because a peak of memory is that of a process. Writes ``results/speed-<machine>.json``
and its table into the pages that have a place for it; of some images (``--quick``) or a
recipe (``--recipe fast``) it only prints the table.

The timers bracket: `train`, the steps of an epoch, from the first batch to the last update;
`evaluate`, loss and accuracy on the train and the test split; `job`, the untrained model's
evaluation and all epochs, each with its evaluation, checkpoints in it, start-up not.
"""

import argparse
import functools
import itertools
import json
import multiprocessing
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import chdir
from pathlib import Path
from statistics import median
from typing import Any

import torch

from mnist_lstm.data.splits import load_split
from mnist_lstm.device import select_device, set_up
from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.params import load_params
from mnist_lstm.training.checkpoint import Checkpointer
from mnist_lstm.training.loop import Row, Run, fit, start_run

RESULTS = Path("benchmarks/results")
PAGES = [Path("README.md"), Path("benchmarks/README.md")]
QUICK = 6000  # images of each split
EPOCHS = 5
ROWS = {
    "train": "training, an epoch, s",
    "evaluate": "evaluating both splits, s",
    "job": "the whole job, s",
    "peak_memory_mb": "peak memory, MB",
    "peak_device_memory_mb": "peak memory of the GPU, MB",
}
TURNS: list[Iterator[dict]] = []  # one, in a process that trains


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="some images, no file")
    parser.add_argument("--recipe", default="", help="a file in recipes/")
    arguments = parser.parse_args()
    script.end_in_one_line()  # and the processes with it
    result = measure(QUICK if arguments.quick else None, arguments.recipe)
    print(table(result))
    if not (arguments.quick or arguments.recipe):
        path = RESULTS / f"speed-{result['machine']}.json"
        path.write_text(json.dumps(result, indent=2) + "\n")
        write_tables()


def write_tables() -> None:
    """Put the table of each machine's figures into the pages."""
    for path in RESULTS.glob("speed-*.json"):
        update_pages(f"make bench: {path.name}", table(json.loads(path.read_text())))


def update_pages(mark: str, text: str) -> None:
    """Put ``text`` into each page that has a place for it, between ``mark`` and its end."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- {mark.partition(': ')[0]}: end -->"
    for path in PAGES:
        before, found, rest = path.read_text().partition(begin)
        if found:
            _, _, after = rest.partition(end)
            path.write_text(f"{before}{begin}{text}\n{end}{after}")


def measure(n: int | None, recipe: str) -> dict:
    """Return the figures of the last commit, on ``n`` images of each split."""
    overrides = shlex.split(Path("recipes", recipe).read_text()) if recipe else []
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = functools.partial(
        subprocess.run,
        check=True,
        env=os.environ | {"PATH": path, "PYTHONPATH": "src"},
        stdout=subprocess.DEVNULL,
    )
    with tempfile.TemporaryDirectory() as project:
        run(["git", "clone", "--quiet", ".", project])
        with chdir(project):
            run(["dvc", "exp", "run", *overrides, "prepare"])
            return versions() | compare(n)


def compare(n: int | None) -> dict:
    """Return the figures of both, trained in turn on ``n`` images of each split."""
    work = {"notebook": notebook_epochs, "project": project_epochs}
    turns: dict[str, list[dict]] = {name: [] for name in work}
    spawn = multiprocessing.get_context("spawn")
    processes = {name: ProcessPoolExecutor(1, spawn) for name in work}
    for epoch in range(EPOCHS + 1 if n is None else 3):
        for name in list(work)[:: 1 if epoch % 2 else -1]:
            turn = processes[name].submit(next_turn, work[name], n).result()
            if turn:  # a recipe may have fewer epochs
                turns[name].append(turn)
                print(f"epoch {epoch} {name:9}{turn}", flush=True)
    for process in processes.values():
        process.shutdown()
    images = {"train": n or 60_000, "evaluate": 2 * n if n else 70_000}
    return {name: figures(turns[name]) for name in work} | {"images": images}


def next_turn(work: Callable[[int | None], Iterator[dict]], n: int | None) -> dict:
    """Return what ``work``, begun by the first call in this process, yields next, or {}."""
    if not TURNS:
        TURNS.append(work(n))
    return next(TURNS[0], {})


def figures(turns: list[dict]) -> dict:
    """Return median and spread of an epoch's seconds, and the whole job's."""
    found: dict[str, Any] = {}
    for name in ("train", "evaluate"):
        seconds = [turn[name] for turn in turns if turn[name]]  # the first trains nothing
        least, most = min(seconds), max(seconds)
        found[name] = {"median": median(seconds), "least": least, "most": most}
    found["job"] = sum(turn["train"] + turn["evaluate"] for turn in turns)
    found["test_accuracy"] = [turn["test_accuracy"] for turn in turns]
    return found | turns[-1]["about"]


def notebook_epochs(n: int | None) -> Iterator[dict]:
    """Train as the notebook does; the first turn only evaluates, as does ours."""
    # here, for torchvision is no part of our memory
    from torchvision.datasets.utils import extract_archive

    from notebook import Notebook

    # The loader's workers start as they would in a notebook, not as this process did.
    multiprocessing.set_start_method(None, force=True)
    device = select_device("auto")
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "MNIST/raw"
        folder.mkdir(parents=True)
        for path in Path("data/raw").glob("*.gz"):
            extract_archive(path, folder)
        notebook = Notebook(Path(root), device, n)
        for epoch in itertools.count():
            start = trained = clock(device)
            if epoch > 0:
                notebook.train_epoch()
                trained = clock(device)
            accuracy = {f"{k}_accuracy": notebook.accuracy(k) for k in ("train", "test")}
            seconds = {"train": trained - start, "evaluate": clock(device) - trained}
            yield seconds | accuracy | {"about": peak_memory()}


def project_epochs(n: int | None) -> Iterator[dict]:
    """Train as the stage `train` does, checkpoints and all."""
    params = load_params()
    compute = set_up(params.train.device, params.train.precision, params.train.seed)
    about = {"machine": str(compute), "precision": compute.arithmetic}
    device, _ = compute
    paths = [Path(f"data/prepared/{name}.safetensors") for name in ("train", "test")]
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


def training_step(run: Run) -> Callable[[], None]:
    """Return what takes a training step of ``run``, always on the same batch of noise."""
    device, n = next(run.model.parameters()).device, run.params.batch_size
    x, y = torch.rand(n, 28, 28, device=device), torch.arange(n, device=device) % 10
    run.epoch = run.steps = 1
    run.model.train()
    return lambda: run.end_step(run.step(x, y))


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


def rows(theirs: dict, ours: dict) -> list[dict[str, str]]:
    """Return a row for each figure: the notebook's, ours, and their ratio."""
    return [
        {
            "": title,
            "notebook's way": spread(theirs[key]),
            "this project": spread(ours[key]),
            "ratio": f"{middle(ours[key]) / middle(theirs[key]):.2f}",
        }
        for key, title in ROWS.items()
        if key in ours
    ]


def table(result: dict) -> str:
    """Return the figures as a table in Markdown, and a sentence."""
    from mnist_lstm.runs import markdown  # pandas, which a bare machine lacks

    theirs, ours = result["notebook"], result["project"]
    accuracy = [f"{way['test_accuracy'][-1]:.2%}" for way in (theirs, ours)]
    pace = {k: result["images"][k] / ours[k]["median"] for k in ("train", "evaluate")}
    return (
        f"{markdown(rows(theirs, ours))}\n\n"
        f"{ours['machine']}, {result['cpu']['name']}. In {ours['precision']} this project "
        f"trains on {pace['train']:,.0f} images/s and evaluates {pace['evaluate']:,.0f} "
        f"images/s. Test accuracy: {accuracy[0]} the notebook's way, {accuracy[1]} here."
    )


def middle(found: dict | float) -> float:
    """Return a figure, or the median of some."""
    return found["median"] if isinstance(found, dict) else found


def spread(found: dict | float) -> str:
    """Return a figure, or the median of some with the least and the most."""
    if isinstance(found, dict):
        least, most = spread(found["least"]), spread(found["most"])
        return f"{spread(found['median'])} ({least}-{most})"
    return f"{found:,.0f}" if found >= 100 else f"{found:.3g}"


if __name__ == "__main__":
    script.run(main)
