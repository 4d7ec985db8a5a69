"""How fast this project trains, beside the notebook's way: ``make bench``.

Both ways take turns, epoch by epoch, each in a process of its own (`ways.py`); then come
what is not training, and how a step grows with the model, the batch and the sequence.
Writes ``benchmarks/results/speed-<machine>.json``, ``growth-<machine>.csv`` and ``.png``,
prints a table and puts it into the README. ``make bench QUICK=1`` takes some images only,
and writes no file.

The timers bracket: `train`, the steps of an epoch, from the first batch to the last update;
`evaluate`, loss and accuracy on the train and the test split; `job`, the untrained model's
evaluation and five epochs, each with its evaluation, checkpoints in it, start-up not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

import ways
from mnist_lstm import params

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
QUICK = 6000  # images of each split
EPOCHS = 5


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--machine", default=machine(), help="in the names of the files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        git = ["git", "clone", "--quiet", str(ROOT), str(project)]
        subprocess.run(git, check=True)
        result = {"machine": arguments.machine, "torch": torch.__version__} | cuda()
        result["cpu"] = cpu()
        result["pipeline"] = first_half(project)
        result |= compare(project, arguments.quick)
        if not arguments.quick:
            result["pipeline"] |= second_half(project)
    print(table(result))
    if arguments.quick:
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"speed-{arguments.machine}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(), path))
    import growth  # here, for matplotlib is no part of what the ways hold in memory

    os.chdir(ROOT)
    growth.main(RESULTS / f"growth-{arguments.machine}", result["project"]["precision"])


def machine() -> str:
    """Return a short name for files: the device and what matters of it."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name().lower().replace(" ", "-")
    capability = torch.backends.cpu.get_cpu_capability().lower()
    return f"cpu-{capability}-{torch.get_num_threads()}core"


def cpu() -> dict:
    """Return what the processor is and can do."""
    able = torch.cpu.get_capabilities()
    return {
        "name": able.get("cpu_name", "unknown"),
        "threads": torch.get_num_threads(),
        "flags": sorted(k for k, v in able.items() if v is True),
    }


def cuda() -> dict:
    """Return the versions that matter on CUDA; nothing without it."""
    if not torch.cuda.is_available():
        return {}
    return {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}


def timed(project: Path, *command: str) -> float:
    """Return the seconds that ``command`` takes in ``project``."""
    bin_folder = str(Path(sys.executable).parent)
    path = bin_folder + os.pathsep + os.environ["PATH"]
    start = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=project,
        env=os.environ | {"PATH": path, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start


def first_half(project: Path) -> dict:
    """Run the pipeline up to training; return the seconds of that."""
    return {
        "download_prepare_describe": timed(project, "dvc", "repro", "prepare", "describe")
    }


def second_half(project: Path) -> dict:
    """Run the rest of the pipeline, with one epoch; return the seconds but for training."""
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("epochs: 5", "epochs: 1"))
    timed(project, "dvc", "repro", "train")
    found = {"evaluate_plot": timed(project, "dvc", "repro")}
    found["nothing_to_do"] = statistics.median(
        timed(project, "dvc", "repro") for _ in range(5)
    )
    # ends where the first batch, or the first evaluation, would begin
    until = (
        "import runpy, sys; from mnist_lstm import {module} as module; "
        "module.{function} = lambda *a, **k: sys.exit(); "
        "runpy.run_path('stages/{stage}.py', run_name='__main__')"
    )
    begins = {
        "download": ("datasets", "fetch"),
        "prepare": ("preparation", "read"),
        "describe": ("model", "LSTMClassifier"),
        "train": ("training", "fit"),
        "evaluate": ("evaluation", "logits"),
        "plot": ("figures", "samples"),
    }
    found["start_up"] = {}
    for stage, (module, function) in begins.items():
        code = until.format(stage=stage, module=module, function=function)
        runs = [timed(project, sys.executable, "-c", code) for _ in range(5)]
        found["start_up"][stage] = statistics.median(runs)
    return found


def compare(project: Path, quick: bool) -> dict:
    """Train both ways in turn; return the figures of each, and their ratios."""
    n = QUICK if quick else None
    os.chdir(project)  # params.yaml of the commit that is measured
    with (
        ways.Way(ways.notebook, project / "data" / "raw", n) as theirs,
        ways.Way(ways.project, project / "data" / "prepared", n) as ours,
        ways.Way(ways.gemm) as gemm,
    ):
        turns = {"notebook": [], "project": []}
        peaks = []
        for epoch in range(EPOCHS + 1 if not quick else 3):
            order = [("notebook", theirs), ("project", ours)]
            for name, way in order[:: -1 if epoch % 2 else 1]:
                turns[name].append(way.ask("turn"))
                print(f"epoch {epoch} {name:9}{turns[name][-1]}", flush=True)
            peaks.append(gemm.ask("peak")["peak_gemm_flops"])
        found = {"peak_gemm_flops": max(peaks)} | ours.ask("about")
        found |= figures(turns["project"]) | ours.ask("memory")
        result = {
            "notebook": figures(turns["notebook"]) | theirs.ask("memory"),
            "project": found,
        }
    settings = params.load()
    batches = -(-(n or 60_000) // settings.train.batch_size)
    flop = ways.flop_a_step(settings.model, settings.train.batch_size, 28) * batches
    flop *= (n or 60_000) / (batches * settings.train.batch_size)
    found["train_flops"] = flop / found["train"]["median"]
    found["share_of_peak"] = found["train_flops"] / found["peak_gemm_flops"]
    result["images"] = {"train": n or 60_000, "evaluate": n + n if n else 70_000}
    result["ratio"] = {
        name: median(result["project"], name) / median(result["notebook"], name)
        for name in ("train", "evaluate", "job")
    }
    return result


def median(way: dict, name: str) -> float:
    """Return the figure by its name: the job's is a sum."""
    return way[name] if name == "job" else way[name]["median"]


def figures(turns: list[dict]) -> dict:
    """Return median and spread of an epoch's seconds, and the whole job's."""
    found = {}
    for name in ("train", "evaluate"):
        seconds = [turn[name] for turn in turns if name in turn]
        found[name] = {
            "median": statistics.median(seconds),
            "least": min(seconds),
            "most": max(seconds),
            "runs": len(seconds),
        }
    found["job"] = sum(turn["evaluate"] + turn.get("train", 0.0) for turn in turns)
    found["test_accuracy"] = [turn["test_accuracy"] for turn in turns]
    return found


def table(result: dict) -> str:
    """Return the figures as a table in Markdown."""
    theirs, ours, pipeline = (result[k] for k in ("notebook", "project", "pipeline"))
    epochs = len(ours["test_accuracy"]) - 1
    rows = [
        ["", "notebook's way", "this project", "ratio"],
        ["---"] * 4,
        *(
            [
                words,
                spread(theirs[name]),
                spread(ours[name]),
                f"{result['ratio'][name]:.2f}",
            ]
            for name, words in (
                ("train", "training, an epoch"),
                ("evaluate", "evaluating both splits"),
            )
        ),
        [
            f"the job: {epochs} epochs, {epochs + 1} evaluations",
            f"{theirs['job']:.0f} s",
            f"{ours['job']:.0f} s",
            f"{result['ratio']['job']:.2f}",
        ],
        [
            "peak memory",
            f"{theirs['peak_memory_mb']} MB and a worker",
            f"{ours['peak_memory_mb']} MB",
            f"{ours['peak_memory_mb'] / theirs['peak_memory_mb']:.2f}",
        ],
        [
            "test accuracy",
            f"{theirs['test_accuracy'][-1]:.4f}",
            f"{ours['test_accuracy'][-1]:.4f}",
            "",
        ],
    ]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines += [
        "",
        f"{ours['machine']}, {result['cpu']['name']}. This project trains on "
        f"{pace(result, 'train')} and evaluates {pace(result, 'evaluate')}. Training runs "
        f"at {ours['train_flops'] / 1e9:.0f} GFLOP/s, {ours['share_of_peak']:.0%} of the "
        f"{ours['peak_gemm_flops'] / 1e9:.0f} GFLOP/s that a product of matrices reached "
        f"in the same run in {ours['precision']}.",
    ]
    if "start_up" in pipeline:
        rest = pipeline["download_prepare_describe"] + pipeline["evaluate_plot"]
        lines += [
            f"All stages of `dvc repro` but training: {rest:.0f} s. With nothing to do: "
            f"{pipeline['nothing_to_do']:.1f} s. Start-up before the first work: "
            + ", ".join(f"{k} {v:.1f} s" for k, v in pipeline["start_up"].items())
            + ".",
        ]
    return "\n".join(lines)


def pace(result: dict, name: str) -> str:
    """Return how many images this project goes through in a second."""
    seconds = result["project"][name]["median"]
    return f"{result['images'][name] / seconds:,.0f} images/s"


def with_table(readme: str, path: Path) -> str:
    """Return the README with the table of the results in ``path`` in place of the old."""
    begin, end = f"<!-- make bench: {path.name} -->\n", "\n<!-- make bench: end -->"
    if begin not in readme:  # of another machine
        return readme
    return between(readme, begin, table(json.loads(path.read_text())), end)


def between(text: str, begin: str, rows: str, end: str) -> str:
    """Return ``text`` with ``rows`` in place of what stands between its marks."""
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + rows + end + after


def spread(seconds: dict) -> str:
    """Return a median with its least and most."""
    return f"{seconds['median']:.1f} s ({seconds['least']:.1f}-{seconds['most']:.1f})"


if __name__ == "__main__":
    main()
