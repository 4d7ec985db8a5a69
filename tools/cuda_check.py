"""Check and measure on a CUDA GPU what this project promises of one: ``make cuda``.

Takes under 8 minutes and writes ``benchmarks/results/cuda-<GPU>.json`` and ``.md`` anew
after each section, so it may be stopped at any time; send the two files. Each section runs
in a process of its own: where one fails, the rest go on.

A bare machine needs PyTorch 2.11 or later, torchvision, NumPy, safetensors, tqdm, requests,
pytest and the four MNIST files, but no network, no DVC and no pydantic:
``DATA_MIRROR=FOLDER PYTHONPATH=src python tools/cuda_check.py``.
``--rehearse`` runs the same on the CPU with few images, and writes nothing.
"""
# ruff: noqa: E402 - modules are imported once they can be

import argparse
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import types
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results"
sys.path[:0] = [str(ROOT / "benchmarks")]


class Values(types.SimpleNamespace):
    """Parameters as pydantic would hold them, unchecked."""

    def model_dump(self) -> dict[str, Any]:
        """Return them by name."""
        return dict(vars(self))

    def model_copy(self, update: dict[str, Any]) -> "Values":
        """Return them with some changed."""
        return Values(**vars(self) | update)


def parse_unchecked(text: str, _source: object = None) -> dict[str, dict[str, Any]]:
    """Read sections of ``key: value``, which is all that ``params.yaml`` has."""
    sections: dict[str, dict[str, Any]] = {}
    section: dict[str, Any] = {}
    for line in text.splitlines():
        key, _, value = line.partition("#")[0].partition(":")
        if key.startswith("  "):
            section[key.strip()] = typed(value.strip())
        elif key.strip():
            section = sections.setdefault(key, {})
    return sections


def read_unchecked(path: Path = Path("params.yaml")) -> Values:
    """Return the parameters in ``path``."""
    sections = parse_unchecked(path.read_text())
    return Values(**{name: Values(**values) for name, values in sections.items()})


def typed(text: str) -> int | float | str:
    """Return a number where ``text`` is one."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


try:
    from mnist_lstm.plumbing.params import load_params
except ImportError:  # no pydantic, no ruamel.yaml
    load_params: Any = read_unchecked  # type: ignore[no-redef]
    stand_in: Any = types.ModuleType("mnist_lstm.plumbing.params")
    names = ("ModelParams", "TrainParams", "AugmentParams", "PrepareParams", "Params")
    vars(stand_in).update(dict.fromkeys(names, Values), load_params=read_unchecked)
    stand_in.parse_yaml = parse_unchecked
    sys.modules[stand_in.__name__] = stand_in

import speed
from mnist_lstm.datasets import DATA_SETS
from mnist_lstm.device import Compute, set_up
from mnist_lstm.evaluation import compute_logits, score
from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.preparation import read_splits
from mnist_lstm.splits import Split, load_split, save_split
from mnist_lstm.training.checkpoint import Checkpointer
from mnist_lstm.training.loop import Row, Run, fit, start_run, train_step

SECONDS = 460  # for all sections
Found = dict[str, Any]


class Bench:
    """The device, the data and the parameters that a section works with."""

    def __init__(self, device: str, n: int | None):
        self.n = n
        self.params: Any = load_params()
        self.device = torch.device(device)
        self.precisions = ["fp32"]
        with suppress(UserError):  # not every CPU, nor every GPU, has an LSTM in bf16
            set_up(device, "bf16", 0)
            self.precisions.append("bf16")

    def split(self, name: str, n: int | None = None) -> Split:
        """Return the first ``n`` images of a split, on the device."""
        path = Path(f"data/prepared/{name}.safetensors")
        split = load_split(path, self.params.model, self.device)
        few = min(x for x in (n, self.n, len(split)) if x)
        return split.take(torch.arange(few, device=self.device))

    def start(self, precision: str = "fp32", seed: int = 0, **sections: dict) -> Run:
        """Return a run of the default parameters, but for what ``sections`` change."""
        compute = set_up(self.device.type, precision, seed)
        p = self.params
        train = {"seed": seed} | sections.get("train", {})
        model = p.model.model_copy(update=sections.get("model", {}))
        augment = p.augment.model_copy(update=sections.get("augment", {}))
        return start_run(model, p.train.model_copy(update=train), augment, compute)

    def clock(self) -> float:
        """Return the time in seconds, once the device is done."""
        return speed.clock(self.device)


def rows_of(run: Run, train: Split, test: Split, **kind: bool) -> list[Row]:
    """Train to the end."""
    return [row for row in fit(run, train, test, **kind) if row]


def eager(run: Run) -> Run:
    """Return ``run``, whose steps are no graph."""
    run.step = functools.partial(train_step, run)
    return run


def digest(run: Run) -> str:
    """Return a hash of the weights."""
    weights = (values.detach().cpu().numpy().tobytes() for values in run.model.parameters())
    return hashlib.sha256(b"".join(weights)).hexdigest()[:12]


def environment(bench: Bench) -> Found:
    """Say what computes."""
    found: Found = {"computes": str(Compute(bench.device, "fp32"))}
    if bench.device.type == "cuda":
        gpu = torch.cuda.get_device_properties(0)
        found |= {"GPU": gpu.name, "capability": f"{gpu.major}.{gpu.minor}"}
        found["memory"] = f"{gpu.total_memory / 2**30:.0f} GiB"
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found["driver"] = subprocess.run(
            query, capture_output=True, text=True
        ).stdout.strip()
    return found


def precision(bench: Bench) -> Found:
    """Look at the type that an LSTM computes in, and at the kernels that it takes."""
    found: Found = {}
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    for name in bench.precisions:
        for dropout in (0.0, 0.2):
            run = bench.start(name, model={"dropout": dropout})
            x = torch.rand(256, 28, 28, device=bench.device)
            title = f"{name}{', dropout' if dropout else ''}"
            seen = run.model._run_layers(x).dtype
            if bench.device.type == "cuda":  # on a CPU, autocast decides
                found[f"{title}: computes in it"] = seen == dtypes[name]
            found[f"{title}: output"] = str(seen)
            found[f"{title}: kernels"] = kernels(bench, eager(run), x)
    return found


def kernels(bench: Bench, run: Run, x: torch.Tensor) -> str:
    """Return the names of the kernels that took most of a step, longest first."""
    from torch.profiler import ProfilerActivity, profile

    cuda = bench.device.type == "cuda"
    y = torch.zeros(len(x), dtype=torch.int64, device=bench.device)
    run.step(x, y)
    activity = ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiled:
        run.step(x, y)
        bench.clock()
    times = {
        event.key: event.self_device_time_total if cuda else event.self_cpu_time_total
        for event in profiled.key_averages()
    }
    most = sorted(times, key=times.__getitem__, reverse=True)[:3]
    return "; ".join(
        f"{name[:60]} {times[name] / sum(times.values()):.0%}" for name in most
    )


def bits(bench: Bench) -> Found:
    """Train twice with a graph and once without: the same bits."""
    on = {
        "model": {"dropout": 0.2},
        "train": {"epochs": 2, "ema": 0.9, "clip": 1.0, "schedule": "one_cycle"},
        "augment": {"rotation": 10, "elastic": 0.5},
    }
    found: Found = {}
    train, test = bench.split("train", 5000), bench.split("test", 500)
    for name in bench.precisions:
        for title, changes in (("plain", {"train": {"epochs": 2}}), ("all on", on)):
            hashes = []
            for kind in (lambda run: run, lambda run: run, eager):
                run = kind(bench.start(name, **changes))
                rows_of(run, train, test)
                hashes.append(digest(run))
            found[f"{name}, {title}: the same twice"] = hashes[0] == hashes[1]
            found[f"{name}, {title}: the same without a graph"] = hashes[0] == hashes[2]
    return found


def parity(bench: Bench) -> Found:
    """Train an epoch in fp32, without TF32, on the device and on the CPU."""
    torch.backends.cudnn.allow_tf32 = False
    few = {"epochs": 1, "batch_size": 64}
    losses, logits = [], []
    for device in (bench.device.type, "cpu"):
        here = Bench(device, bench.n)
        train, test = here.split("train", 2000), here.split("test", 500)
        run = here.start("fp32", train=few)
        logits.append(compute_logits(run.model, test).cpu())
        losses.append(rows_of(run, train, test)[-1]["train_loss"])
    apart = abs(losses[0] / losses[1] - 1)
    furthest = float((logits[0] - logits[1]).abs().max())
    return {
        "untrained logits, largest difference": f"{furthest:.1e}",
        "untrained logits agree within 1e-5": furthest < 1e-5,
        "loss of an epoch, relative difference": f"{apart:.1e}",
        "loss of an epoch agrees within 1e-3": apart < 1e-3,
    }


def steps(bench: Bench) -> Found:
    """Time a training step by hidden size and precision, and name its longest kernel."""
    found: Found = {}
    rehearsal = bench.n is not None
    train = bench.split("train", 256 * 60)
    x, y = next(train.batches(256))
    for hdim in (64, 128, 160, 192, 256, 384, 512, 1024)[: 2 if rehearsal else None]:
        for name in bench.precisions:
            run = bench.start(name, model={"hdim": hdim})
            for _ in range(6):
                run.step(x, y)
            times = []
            for _ in range(3):
                start = bench.clock()
                for _ in range(1 if rehearsal else 40):
                    run.step(x, y)
                times.append((bench.clock() - start) / (1 if rehearsal else 40))
            flop = speed.flop_a_step(run.model.params, len(x), 28) / median(times)
            kernel = kernels(bench, eager(bench.start(name, model={"hdim": hdim})), x)
            found[f"hdim {hdim}, {name}"] = (
                f"{1e3 * median(times):.3g} ms, {flop / 1e12:.3g} TFLOP/s; {kernel}"
            )
    return found


def shares(bench: Bench) -> Found:
    """Time the default job, warm, and what its parts take of it; and its peak memory."""
    found: Found = {}
    train, test = bench.split("train"), bench.split("test")
    for name in bench.precisions:
        jobs: dict[str, list[float]] = {}
        ways: dict[str, dict] = {
            "whole": {},
            "steps one by one": {"graphed": False},
            "without checkpoints": {"saved": False},
            "without evaluating train": {"evaluated": False},
        }
        for turn in range(1 if bench.n else 4):
            for way, changes in ways.items():
                seconds = job(bench, train, test, name, **changes)
                if turn or bench.n:  # the first warms up
                    jobs.setdefault(way, []).append(seconds)
        whole = median(jobs["whole"])
        for way, times in jobs.items():
            found[f"{name}: job of {bench.params.train.epochs} epochs, {way}"] = (
                f"{median(times):.3g} s ({min(times):.3g} to {max(times):.3g}), "
                f"{median(times) / whole:.2f} of the whole"
            )
    if bench.device.type == "cuda":
        found["peak memory, allocated"] = (
            f"{torch.cuda.max_memory_allocated() / 2**20:.0f} MiB"
        )
        found["peak memory, reserved"] = (
            f"{torch.cuda.max_memory_reserved() / 2**20:.0f} MiB"
        )
    return found


def job(
    bench: Bench,
    train: Split,
    test: Split,
    precision: str,
    graphed: bool = True,
    saved: bool = True,
    evaluated: bool = True,
) -> float:
    """Return the seconds of the default run, from the untrained model to the last row."""
    run = bench.start(precision)
    if not graphed:
        eager(run)
    with tempfile.TemporaryDirectory() as folder:
        keeper = Checkpointer(Path(folder) / "checkpoints/key", run) if saved else None
        start = bench.clock()
        with keeper or nullcontext():
            for _ in fit(run, train, test, evaluate_train=evaluated):
                if keeper:
                    keeper.save_if_due()
            if keeper:
                keeper.finish()
        return bench.clock() - start


def fast(bench: Bench) -> Found:
    """Train the recipe ``fast`` with ten seeds."""
    recipe: dict[str, dict[str, Any]] = {}
    for line in (ROOT / "recipes/fast").read_text().splitlines():
        key, _, value = line.removeprefix("-S ").partition("=")
        section, _, name = key.partition(".")
        recipe.setdefault(section, {})[name] = typed(value)
    found: Found = {}
    train, test = bench.split("train"), bench.split("test")
    for name in bench.precisions:
        accuracies, times = [], []
        for seed in range(2 if bench.n else 10):
            run = bench.start(name, seed, **recipe)
            start = bench.clock()
            rows_of(run, train, test, evaluate_train=False)
            times.append(bench.clock() - start)
            logits = compute_logits(run.ema_model, test)
            accuracies.append(score(logits, test.labels).accuracy)
        found[f"{name}: test accuracy, {len(accuracies)} seeds"] = (
            f"{mean(accuracies):.2%} ± {100 * stdev(accuracies):.2f}, "
            f"{min(accuracies):.2%} to {max(accuracies):.2%}"
        )
        found[f"{name}: seconds a seed, test split evaluated twice"] = (
            f"{median(times):.3g}"
        )
    return found


def against(bench: Bench) -> Found:
    """Train the notebook's way and ours, five epochs and both accuracies, in turn."""
    result = speed.compare(bench.n)
    theirs, ours = result["notebook"], result["project"]
    found: Found = {"computes": ours["machine"]}
    for name in ("train", "evaluate"):
        a, b = theirs[name]["median"], ours[name]["median"]
        found[f"{name}, an epoch, median"] = f"{a:.3g} s, ours {b:.3g} s: {a / b:.1f} times"
    a, b = theirs["job"], ours["job"]
    found["job, start-up left out, warm-up in it"] = (
        f"{a:.3g} s, ours {b:.3g} s: {a / b:.1f} times"
    )
    last = [f"{way['test_accuracy'][-1]:.2%}" for way in (theirs, ours)]
    found["test accuracy"] = f"{last[0]}, ours {last[1]}"
    for kind in ("peak_memory_mb", "peak_device_memory_mb"):
        if kind in ours:
            found[kind] = f"{theirs[kind]}, ours {ours[kind]}"
    return found


def tests(bench: Bench) -> Found:
    """Run the tests that are marked `cuda`."""
    import pytest

    failed: list[str] = []
    counts: Counter[str] = Counter()

    class Plugin:
        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.failed or report.when == "call" or report.skipped:
                counts[report.outcome] += 1
            if report.failed:
                failed.append(f"{report.nodeid}: {str(report.longrepr).splitlines()[-1]}")

    sys.path.insert(0, str(ROOT / "tests"))
    files = ("test_device", "test_training", "test_checkpoint", "test_script")
    command = ["-q", "-m", "cuda", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    command += [str(ROOT / f"tests/{name}.py") for name in files]
    status = pytest.main(command, plugins=[Plugin()])
    found: Found = {"pass": (status == 0 and not counts["skipped"]) or bench.n is not None}
    found |= counts
    return found | {f"failure {i}": line for i, line in enumerate(failed, 1)}


SECTIONS: dict[str, Callable[[Bench], Found]] = {
    section.__name__: section
    for section in (
        environment,
        precision,
        bits,
        parity,
        steps,
        shares,
        fast,
        tests,
        against,
    )
}


def main() -> None:
    """Run every section, or the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, few images")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.section:
        bench = Bench(*(("cpu", 300) if arguments.rehearse else ("cuda", None)))
        print(json.dumps(SECTIONS[arguments.section](bench)))
        return
    script.end_in_one_line()
    if not arguments.rehearse:
        set_up("cuda", "fp32", 0)  # says why, where there is none
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        results: dict[str, Found] = {}
        for name, found in run_sections(arguments.only, Path(folder), arguments.rehearse):
            results[name] = found
            print(section_table(name, found), flush=True)
            if not arguments.rehearse:
                write(results)
    failed = [name for name, found in results.items() if not found["ok"]]
    if failed:
        raise UserError(f"not as promised: {', '.join(failed)}; the tables above say what")


def prepare(folder: Path) -> None:
    """Lay out in ``folder`` what the sections read: data and parameters."""
    mirror = os.environ.get("DATA_MIRROR")
    places = [ROOT / "data/raw", *([Path(mirror) / "mnist"] if mirror else [])]
    raw = next((p for p in places if (p / "train-images-idx3-ubyte.gz").exists()), None)
    if raw is None:
        where = " nor ".join(map(str, places))
        raise UserError(f"no MNIST in {where}; `dvc repro download`, or set DATA_MIRROR")
    (folder / "data").mkdir()
    (folder / "data/raw").symlink_to(raw.resolve())
    committed = (ROOT / "params.yaml").read_text()
    (folder / "params.yaml").write_text(committed)
    for name, split in zip(
        ("train", "test"), read_splits(raw, DATA_SETS["mnist"].classes), strict=True
    ):
        save_split(split, folder / f"data/prepared/{name}.safetensors")


def run_sections(
    names: Iterable[str], folder: Path, rehearse: bool
) -> Iterator[tuple[str, Found]]:
    """Run each section in a process of its own; yield its name and what it found."""
    end = time.monotonic() + SECONDS
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    for name in names:
        command = [sys.executable, __file__, "--section", name]
        command += ["--rehearse"] if rehearse else []
        start = time.monotonic()
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=os.environ | {"PYTHONPATH": path},
                capture_output=True,
                text=True,
                timeout=max(1, end - start),
            )
        except subprocess.TimeoutExpired:
            yield name, {"ok": False, "not finished": f"{SECONDS} s are over"}
            continue
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["nothing"]
            found: Found = {"ok": False, f"failed with status {done.returncode}": said[-1]}
        else:
            found = json.loads(done.stdout.splitlines()[-1])
            found = {"ok": is_kept(found)} | found
        if done.stderr.strip() and not done.returncode:
            found["warned"] = done.stderr.strip().splitlines()[-1]
        yield name, found | {"seconds": round(time.monotonic() - start, 1)}


def is_kept(found: Found) -> bool:
    """Say whether every promise among what was found is kept."""
    return all(value is not False for value in found.values())


def section_table(name: str, found: Found) -> str:
    """Return what a section found as a table in Markdown."""
    words = {True: "yes", False: "**no**"}
    lines = [f"\n**{name}**\n", "| what | found |", "| --- | --- |"]
    for key, value in found.items():
        shown = words[value] if isinstance(value, bool) else str(value)
        lines.append(f"| {key} | {shown.replace('|', '/')} |")
    return "\n".join(lines)


def write(results: dict[str, Found]) -> None:
    """Write what was found so far, as JSON and as tables."""
    stem = f"cuda-{torch.cuda.get_device_name().lower().replace(' ', '-')}"
    (RESULTS / f"{stem}.json").write_text(json.dumps(results, indent=2) + "\n")
    tables = "\n".join(section_table(*pair) for pair in results.items())
    (RESULTS / f"{stem}.md").write_text(f"# {torch.cuda.get_device_name()}\n{tables}\n")


if __name__ == "__main__":
    script.run(main, alone="--section" not in sys.argv)  # which a section is not
