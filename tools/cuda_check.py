"""Check and measure on a CUDA GPU what this project promises of one: ``make cuda``.

Takes under 8 minutes and writes ``benchmarks/results/cuda-<GPU>.json`` and ``.md`` anew
after each section, so it may be stopped at any time; send the two files. Each section runs
in a process of its own, for so long at most; where one fails, or hangs, what it found until
then is kept, and the rest go on.

A bare machine needs PyTorch 2.11 or later, torchvision, NumPy, safetensors, tqdm, requests,
pytest, pydantic and ruamel.yaml, and ``data/raw`` and ``data/prepared`` as the stages write
them, but no network and no DVC. What it lacks may be carried there, ``pip install
--target=carried pydantic ruamel.yaml``:
``PYTHONPATH=src:carried python tools/cuda_check.py``.
``--rehearse`` runs the same on the CPU with few images, and writes nothing.
"""
# ruff: noqa: E402 - modules are imported once they can be

import argparse
import functools
import gc
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results"
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests")]

import speed
from mnist_lstm.data.splits import Split, load_split
from mnist_lstm.device import Compute, set_up
from mnist_lstm.evaluation import compute_logits, score
from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.files import write_bytes
from mnist_lstm.plumbing.params import load_params, parse_yaml
from mnist_lstm.training.checkpoint import Checkpointer
from mnist_lstm.training.cudagraph import GraphedStep
from mnist_lstm.training.distributed import ShardedStep
from mnist_lstm.training.loop import Row, Run, fit, start_run, train_step

Found = dict[str, Any]
Findings = Iterator[tuple[str, Any]]  # of one name, the last holds


class Bench:
    """The device, the data and the parameters that a section works with."""

    def __init__(self, device: str, n: int | None):
        self.n = n
        self.params: Any = load_params()
        self.device = torch.device(device)
        self.cuda = device == "cuda"
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


def caught(findings: Findings) -> Findings:
    """Yield ``findings``, and what ends them."""
    try:
        yield from findings
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        yield "ends without an error", False
        where = f"{Path(at.filename).name}:{at.lineno}"
        yield "error", f"{type(error).__name__}: {error} ({where})"


def each_precision(
    section: Callable[[Bench, str], Findings],
) -> Callable[[Bench], Findings]:
    """Run ``section`` in each precision; where one fails, the next goes on."""

    @functools.wraps(section)
    def run(bench: Bench) -> Findings:
        for name in bench.precisions:
            for what, value in caught(section(bench, name)):
                yield f"{name}, {what}", value

    return run


def rows_of(run: Run, train: Split, test: Split, **kind: bool) -> list[Row]:
    """Train to the end."""
    return [row for row in fit(run, train, test, **kind) if row]


def eager(run: Run) -> Run:
    """Return ``run``, whose steps are no graph."""
    if isinstance(run.step, ShardedStep):
        run.step.gradient = run.step._gradient
    else:
        run.step = functools.partial(train_step, run)
    return run


def graphed(title: str, run: Run) -> Findings:
    """Say whether steps were replayed: else, to compare with them says nothing."""
    step = run.step.gradient if isinstance(run.step, ShardedStep) else run.step
    if isinstance(step, GraphedStep):
        yield f"{title}: from a graph", bool(step.graphs)


def digest(run: Run) -> str:
    """Return a hash of the weights."""
    weights = (values.detach().cpu().numpy().tobytes() for values in run.model.parameters())
    return hashlib.sha256(b"".join(weights)).hexdigest()[:12]


def environment(bench: Bench) -> Findings:
    """Say what computes."""
    yield "computes", str(Compute(bench.device, "fp32"))
    if bench.cuda:
        gpu = torch.cuda.get_device_properties(0)
        yield "GPU", gpu.name
        yield "capability", f"{gpu.major}.{gpu.minor}"
        yield "memory", f"{gpu.total_memory / 2**30:.0f} GiB"
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        with suppress(FileNotFoundError):  # not in every container
            done = subprocess.run(query, capture_output=True, text=True)
            yield "driver", done.stdout.strip()


def kernels(bench: Bench, run: Run, x: torch.Tensor) -> str:
    """Return the names of the kernels that took most of a step, longest first."""
    from torch.profiler import ProfilerActivity, profile

    y = torch.zeros(len(x), dtype=torch.int64, device=bench.device)
    run.step(x, y)
    where = ProfilerActivity.CUDA if bench.cuda else ProfilerActivity.CPU
    with profile(activities=[where]) as profiled:
        run.step(x, y)
        bench.clock()
    spent = f"self_{'device' if bench.cuda else 'cpu'}_time_total"
    return longest({event.key: getattr(event, spent) for event in profiled.key_averages()})


def longest(times: dict[str, float]) -> str:
    """Return the names of the three longest ``times``, and their shares."""
    whole = sum(times.values()) or 1  # a profiler without permission sees nothing
    most = sorted(times, key=times.__getitem__, reverse=True)[:3]
    return "; ".join(f"{name[:60]} {times[name] / whole:.0%}" for name in most)


@each_precision
def bits(bench: Bench, name: str) -> Findings:
    """Train twice with a graph and once without, in shards, too: the same bits."""
    from defaults import ALL_ON  # type: ignore[import-not-found]  # of the tests

    train, test = bench.split("train", 5000), bench.split("test", 500)
    yield "fingerprint", bench.start(name).fingerprint(train)
    in_shards = {"train": ALL_ON["train"] | {"shards": 4}}
    for title, changes in (
        ("plain", dict[str, dict]()),
        ("all on", ALL_ON),
        ("all on in shards", ALL_ON | in_shards),
    ):
        few = changes.get("train", {}) | {"epochs": 2}
        hashes = []
        for turn in ("first", "second", "eager"):
            run = bench.start(name, **changes | {"train": few})
            rows_of(eager(run) if turn == "eager" else run, train, test)
            hashes.append(digest(run))
            yield from graphed(f"{title}, {turn}", run)
        yield f"{title}: the same twice", hashes[0] == hashes[1]
        yield f"{title}: the same without a graph", hashes[0] == hashes[2]
        yield f"{title}: weights", hashes[0]


def differs(found: Found, before: Found) -> Findings:
    """Say whether the section ``bits`` finds the same bits as it did in another process."""
    for what, value in found.items():
        if what.endswith(("fingerprint", "weights")):
            yield f"{what}, the same in another process", value == before.get(what)


@each_precision
def steps(bench: Bench, name: str) -> Findings:
    """Time a training step by hidden size, and name its longest kernels."""
    widths = (64, 128, 160, 192, 256, 384, 512, 1024)[: 2 if bench.n else None]
    n = 1 if bench.n else 40
    x, y = next(bench.split("train", 256).batches(256))
    for hdim in widths:
        run = bench.start(name, model={"hdim": hdim})
        for _ in range(6):
            run.step(x, y)
        yield from graphed(f"hdim {hdim}", run)
        times = []
        for _ in range(3):
            start = bench.clock()
            for _ in range(n):
                run.step(x, y)
            times.append((bench.clock() - start) / n)
        flop = speed.flop_a_step(run.model.params, len(x), 28) / median(times)
        yield (
            f"hdim {hdim}: step",
            f"{1e3 * median(times):.3g} ms, {flop / 1e12:.3g} TFLOP/s",
        )
    for hdim in widths:
        run = eager(bench.start(name, model={"hdim": hdim}))
        yield f"hdim {hdim}: kernels", kernels(bench, run, x)


@each_precision
def shares(bench: Bench, name: str) -> Findings:
    """Time the default job, warm, whole and without its parts; and its peak memory."""
    splits = bench.split("train"), bench.split("test")
    gc.collect()
    if bench.cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    run, *_ = job(bench, name, *splits)  # this one warms up
    yield from graphed("job", run)
    if bench.cuda:
        for kind in ("allocated", "reserved"):
            most = getattr(torch.cuda, f"max_memory_{kind}")()
            yield f"peak memory of a job, {kind}", f"{most / 2**20:.0f} MiB"
    seconds = defaultdict(list)
    for _ in range(1 if bench.n else 3):
        for part in ("nothing", "the graph", "checkpoints", "evaluating train"):
            _, whole, learning = job(bench, name, *splits, without=part)
            seconds[f"without {part}"].append(whole)
            seconds[f"without {part}: its steps alone"].append(learning)
        for way, times in seconds.items():
            share = median(times) / median(seconds["without nothing"])
            spread = f"{min(times):.3g} to {max(times):.3g}"
            yield (
                f"job {way}",
                f"{median(times):.3g} s ({spread}), {share:.2f} of the whole",
            )


def job(
    bench: Bench, precision: str, train: Split, test: Split, without: str = ""
) -> tuple[Run, float, float]:
    """Take the default run; return it, its seconds, and those of its steps alone."""
    run = bench.start(precision)
    if without == "the graph":
        eager(run)
    with tempfile.TemporaryDirectory() as folder:
        keeper = Checkpointer(Path(folder) / "checkpoints/key", run)
        saved = without != "checkpoints"
        between = keeper.save_if_due if saved else lambda: None
        start = bench.clock()
        with keeper if saved else nullcontext():
            rows = fit(run, train, test, evaluate_train=without != "evaluating train")
            learning = sum(row["seconds"] for row in speed.with_seconds(run, rows, between))
            if saved:
                keeper.finish()
        return run, bench.clock() - start, learning


@each_precision
def fast(bench: Bench, name: str) -> Findings:
    """Train the recipe ``fast`` with ten seeds."""
    recipe: dict[str, dict[str, Any]] = {}
    for line in (ROOT / "recipes/fast").read_text().splitlines():
        key, _, value = line.removeprefix("-S ").partition("=")
        section, _, leaf = key.partition(".")
        recipe.setdefault(section, {})[leaf] = parse_yaml(value, leaf)
    train, test = bench.split("train"), bench.split("test")
    found, times = [], []
    for seed in range(2 if bench.n else 10):
        run = bench.start(name, seed, **recipe)
        start = bench.clock()
        rows_of(run, train, test, evaluate_train=False)
        times.append(bench.clock() - start)
        found.append(score(compute_logits(run.ema_model, test), test.labels).accuracy)
        if seed:
            spread = f"{100 * stdev(found):.2f}, {min(found):.2%} to {max(found):.2%}"
            yield "test accuracy", f"{mean(found):.2%} ± {spread}, {len(found)} seeds"
    yield "seconds a seed, test split evaluated twice", f"{median(times):.3g}"


def against(bench: Bench) -> Findings:
    """Train the notebook's way and ours, five epochs and both accuracies, in turn."""
    turns = defaultdict(list)
    for epoch, name, turn in speed.take_turns(bench.n):
        turns[name].append(turn)
        if name != "product":
            seconds = [f"{kind} {turn[kind]:.3g} s" for kind in ("train", "evaluate")]
            yield f"epoch {epoch}, {name}", ", ".join(seconds)
    result = speed.summary(bench.n, turns)
    theirs, ours = result["notebook"], result["project"]
    yield "computes", ours["machine"]
    for name in ("train", "evaluate"):
        a, b = theirs[name]["median"], ours[name]["median"]
        yield f"{name}, an epoch, median", f"{a:.3g} s, ours {b:.3g} s: {a / b:.1f} times"
    a, b = theirs["job"], ours["job"]
    yield "job but start-up", f"{a:.3g} s, ours {b:.3g} s: {a / b:.1f} times"
    last = [f"{way['test_accuracy'][-1]:.2%}" for way in (theirs, ours)]
    yield "test accuracy", f"{last[0]}, ours {last[1]}"
    for kind in ("peak_memory_mb", "peak_device_memory_mb"):
        if kind in ours:
            yield kind, f"{theirs[kind]}, ours {ours[kind]}"


def tests(bench: Bench) -> Findings:
    """Run the tests that are marked `cuda`; to rehearse, those that speak of it."""
    import pytest

    failed: list[str] = []
    counts: Counter[str] = Counter()

    class Plugin:
        def pytest_collectreport(self, report: Any) -> None:
            if report.failed:
                failed.append(f"{report.nodeid}: {str(report.longrepr).splitlines()[-1]}")

        def pytest_runtest_logreport(self, report: Any) -> None:
            self.pytest_collectreport(report)
            if report.failed or report.when == "call" or report.skipped:
                counts[report.outcome] += 1

    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none is needed
    sys.argv = ["pytest"]  # not this file, which who started it keeps locked
    files = ("test_device", "test_training", "test_checkpoint", "test_script")
    command = ["-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    command += ["-k", "cuda or memory"] if bench.n else ["-m", "cuda"]
    command += [str(ROOT / f"tests/{name}.py") for name in files]
    status = pytest.main(command, plugins=[Plugin()])
    yield "pass", status == 0 and counts["passed"] > 0
    yield from counts.items()
    yield from ((f"failure {i}", line) for i, line in enumerate(failed, 1))


# In this order; each with its seconds, to which come those that others before it left.
SECTIONS: dict[str, tuple[Callable[[Bench], Findings], int]] = {
    "environment": (environment, 20),
    "bits": (bits, 42),
    "bits again": (bits, 42),
    "against": (against, 165),
    "tests": (tests, 80),
    "steps": (steps, 30),
    "shares": (shares, 50),
    "fast": (fast, 30),
}


def main() -> None:
    """Run every section, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, few images")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.section:
        section, _ = SECTIONS[arguments.section]
        with Path("found.jsonl").open("w", buffering=1) as lines:
            bench = Bench(*(("cpu", 60) if arguments.rehearse else ("cuda", None)))
            for finding in caught(section(bench)):
                print(json.dumps(finding), file=lines)
        return
    script.end_in_one_line()
    if not arguments.rehearse:
        set_up("cuda", "fp32", 0)  # says why, where there is none
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        prepare(Path(folder), arguments.rehearse)
        results: dict[str, Found] = {}
        for name, found in run_sections(arguments.only, Path(folder), arguments.rehearse):
            if name == "bits again" and "bits" in results:
                found |= dict(differs(found, results["bits"]))
                found["ok"] = is_kept(found)
            results[name] = found
            print(section_table(name, found), flush=True)
            if not arguments.rehearse:
                write(results)
    failed = [name for name, found in results.items() if not found["ok"]]
    if failed:
        raise UserError(f"not as promised: {', '.join(failed)}; the tables above say what")


def prepare(folder: Path, rehearse: bool) -> None:
    """Lay out in ``folder`` what the sections read: data and parameters."""
    for name in ("raw", "prepared"):
        data = Path("data", name)
        if not data.exists():
            raise UserError(f"{data}: missing; `dvc repro prepare` writes it")
        (folder / "data").mkdir(exist_ok=True)
        (folder / data).symlink_to(data.resolve())
    params = (ROOT / "params.yaml").read_text()
    params = re.sub(r"hdim: \d+", "hdim: 16", params) if rehearse else params
    (folder / "params.yaml").write_text(params)


def run_sections(
    names: Iterable[str], folder: Path, rehearse: bool
) -> Iterator[tuple[str, Found]]:
    """Run each section in a process of its own; yield its name and what it found."""
    end = time.monotonic()
    for name in names:
        command = [sys.executable, __file__, "--section", name]
        end += SECTIONS[name][1] * (20 if rehearse else 1)  # a CPU may be busy, and slow
        yield name, run_section(command + ["--rehearse"] * rehearse, folder, end)


def run_section(command: list[str], folder: Path, end: float) -> Found:
    """Run a section until ``end``, by time.monotonic(); return what it found until then."""
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    # what one that is killed leaves in TMPDIR goes with the folder
    env = os.environ | {"PYTHONPATH": path, "TMPDIR": str(folder)}
    lines, errors = folder / "found.jsonl", folder / "errors"
    lines.write_text("")
    start, status = time.monotonic(), None
    with errors.open("w") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
    try:
        status = process.wait(end - start)
    except subprocess.TimeoutExpired:
        pass
    finally:  # at a signal, too: end what it has started as well
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)  # what a driver holds may not die
    whole = (line for line in lines.read_text().splitlines(True) if line.endswith("\n"))
    found: Found = dict(map(json.loads, whole))
    last = (errors.read_text().strip() or "nothing").splitlines()[-1]
    ok = status == 0 and is_kept(found)
    if status is None:
        found["not finished"] = "its time is over"
    elif status:
        found[f"failed with status {status}"] = last
    elif last != "nothing":
        found["warned"] = last
    return {"ok": ok} | found | {"seconds": round(time.monotonic() - start, 1)}


def is_kept(found: Found) -> bool:
    """Say whether every promise among what was found is kept."""
    return all(value is not False for value in found.values())


def section_table(name: str, found: Found) -> str:
    """Return what a section found as a table in Markdown."""
    words = {True: "yes", False: "**no**"}
    lines = [f"\n**{name}**\n", "| what | found |", "| --- | --- |"]
    for key, value in found.items():
        cell = words[value] if isinstance(value, bool) else str(value)
        lines.append(f"| {key} | {cell.replace('|', '/')} |")
    return "\n".join(lines)


def write(results: dict[str, Found]) -> None:
    """Write what was found so far, as JSON and as tables."""
    name = torch.cuda.get_device_name()
    stem = RESULTS / f"cuda-{name.lower().replace(' ', '-')}"
    tables = "\n".join(section_table(*pair) for pair in results.items())
    write_bytes(Path(f"{stem}.json"), f"{json.dumps(results, indent=2)}\n".encode())
    write_bytes(Path(f"{stem}.md"), f"# {name}\n{tables}\n".encode())


if __name__ == "__main__":
    # Its sections run beside it.
    script.run(main, alone="--section" not in sys.argv)
