"""Check and measure on a CUDA GPU what this project promises of one: ``make cuda``.

Takes under 8 minutes and writes ``benchmarks/results/cuda-<GPU>.md`` anew after each
section, so it may be stopped at any time; send that file. Each section runs in a process of
its own, for so long at most; where one fails, or hangs, what it found until then is kept,
and the rest go on.

A bare machine needs PyTorch 2.11 or later, torchvision, NumPy, safetensors, tqdm, requests,
pytest, pydantic and ruamel.yaml, and ``data/raw`` and ``data/prepared`` as the stages write
them, but no network and no DVC. What it lacks may be carried there: ``pip install
--target=carried pydantic ruamel.yaml``, ``PYTHONPATH=src:carried``. ``--rehearse`` runs the
same on the CPU with few images, and writes nothing.
"""
# ruff: noqa: E402 - modules are imported once they can be

import argparse
import functools
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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests")]

import speed
from mnist_lstm.data.splits import Split, load_split
from mnist_lstm.device import set_up
from mnist_lstm.evaluation import compute_logits, score
from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import load_params, parse_yaml
from mnist_lstm.training.cudagraph import GraphedStep
from mnist_lstm.training.distributed import ShardedStep
from mnist_lstm.training.loop import Run, fit, start_run, train_step

Found = dict[str, Any]
Findings = Iterator[tuple[str, Any]]  # of one name, the last holds
Section = Callable[["Bench"], Findings]


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


def caught(findings: Findings) -> Findings:
    """Yield ``findings``, and what ends them."""
    try:
        yield from findings
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        yield "ends without an error", False
        yield "error", f"{type(error).__name__}: {error} ({at.name}, line {at.lineno})"


def each_precision(section: Callable[[Bench, str], Findings]) -> Section:
    """Run ``section`` in each precision; where one fails, the next goes on."""

    def run(bench: Bench) -> Findings:
        for name in bench.precisions:
            for what, value in caught(section(bench, name)):
                yield f"{name}, {what}", value

    return run


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
            list(fit(eager(run) if turn == "eager" else run, train, test))
            hashes.append(digest(run))
            yield from graphed(f"{title}, {turn}", run)
        yield f"{title}: the same twice", hashes[0] == hashes[1]
        yield f"{title}: the same without a graph", hashes[0] == hashes[2]
        yield f"{title}: weights", hashes[0]


@each_precision
def steps(bench: Bench, name: str) -> Findings:
    """Time a training step by hidden size, with a graph and without."""
    widths = (64, 128, 160, 192, 256, 384, 512, 1024)[: 2 if bench.n else None]
    n = 1 if bench.n else 120
    x, y = next(bench.split("train", 256).batches(256))
    for hdim in widths:
        for way in ("graph", "eager"):
            run = bench.start(name, model={"hdim": hdim})
            run = eager(run) if way == "eager" else run
            for _ in range(6):
                run.step(x, y)
            start = speed.clock(bench.device)
            for _ in range(n):
                run.step(x, y)
            seconds = (speed.clock(bench.device) - start) / n
            flop = speed.flop_a_step(run.model.params, len(x), 28) / seconds
            told = f"{1e3 * seconds:.3g} ms, {flop / 1e12:.3g} TFLOP/s"
            yield f"hdim {hdim}, {way}", told
            yield from graphed(f"hdim {hdim}, {way}", run)


@each_precision
def fast(bench: Bench, name: str) -> Findings:
    """Train the recipe ``fast`` with ten seeds."""
    recipe: dict[str, dict[str, Any]] = {}
    for line in (ROOT / "recipes/fast").read_text().splitlines():
        key, _, value = line.removeprefix("-S ").partition("=")
        section, _, leaf = key.partition(".")
        recipe.setdefault(section, {})[leaf] = parse_yaml(value, leaf)
    train, test = bench.split("train"), bench.split("test")
    found: list[str] = []
    start = speed.clock(bench.device)
    for seed in range(2 if bench.n else 10):
        run = bench.start(name, seed, **recipe)
        list(fit(run, train, test, evaluate_train=False))
        accuracy = score(compute_logits(run.ema_model, test), test.labels).accuracy
        found.append(f"{accuracy:.2%}")
        yield "test accuracy by seed", " ".join(found)
    yield "seconds for all", round(speed.clock(bench.device) - start, 1)


def against(bench: Bench) -> Findings:
    """Train the notebook's way and ours, five epochs and both accuracies, in turn."""
    result = speed.compare(bench.n)
    yield "computes", result["project"]["machine"]
    for row in speed.rows(result["notebook"], result["project"]):
        what, theirs, ours, ratio = row.values()
        yield what, f"{theirs}, ours {ours}: {ratio}"
    last = [f"{result[way]['test_accuracy'][-1]:.2%}" for way in ("notebook", "project")]
    yield "test accuracy", f"{last[0]}, ours {last[1]}"


def tests(bench: Bench) -> Findings:
    """Run the tests that are marked `cuda`; to rehearse, those that speak of it."""
    import pytest

    counts: Counter[str] = Counter()

    class Plugin:
        def pytest_runtest_logreport(self, report: Any) -> None:
            counts["passed"] += report.passed and report.when == "call"
            if report.failed:
                counts[f"{report.nodeid}: {str(report.longrepr).splitlines()[-1]}"] += 1

    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none is needed
    sys.argv = ["pytest"]  # not this file, which who started it keeps locked
    files = [file for file in ROOT.glob("tests/*.py") if "mark.cuda" in file.read_text()]
    command = ["-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    command += ["-k", "cuda or memory"] if bench.n else ["-m", "cuda"]
    status = pytest.main([*command, *map(str, files)], plugins=[Plugin()])
    yield "pass", status == 0 and counts["passed"] > 0
    yield from counts.items()


# In this order; each with the seconds that it may take.
SECTIONS: dict[str, tuple[Section, int]] = {
    "bits": (bits, 60),
    "bits again": (bits, 60),
    "against": (against, 165),
    "tests": (tests, 100),
    "steps": (steps, 60),
    "fast": (fast, 40),
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
        for name in arguments.only:
            seconds = SECTIONS[name][1] * (20 if arguments.rehearse else 1)  # a slow CPU
            command = [sys.executable, __file__, "--section", name]
            command += ["--rehearse"] * arguments.rehearse
            found = run_section(command, Path(folder), seconds)
            if name == "bits again":
                for what, value in results.get("bits", {}).items():
                    if what.endswith(("fingerprint", "weights")):
                        found[f"{what}, in another process"] = found.get(what) == value
            results[name] = found
            print(section_table(name, found), flush=True)
            if not arguments.rehearse:
                gpu = torch.cuda.get_device_name()
                tables = [f"# {gpu}", *(section_table(*pair) for pair in results.items())]
                path = speed.RESULTS / f"cuda-{gpu.lower().replace(' ', '-')}.md"
                path.write_text("\n".join(tables) + "\n")
    failed = [name for name, found in results.items() if not is_kept(found)]
    if failed:
        raise UserError(f"not as promised: {', '.join(failed)}; the tables above say what")


def prepare(folder: Path, rehearse: bool) -> None:
    """Lay out in ``folder`` what the sections read: data and parameters."""
    for data in (Path("data/raw"), Path("data/prepared")):
        if not data.exists():
            raise UserError(f"{data}: missing; `dvc repro prepare` writes it")
    (folder / "data").symlink_to(data.parent.resolve())
    params = (ROOT / "params.yaml").read_text()
    params = re.sub(r"hdim: \d+", "hdim: 16", params) if rehearse else params
    (folder / "params.yaml").write_text(params)


def run_section(command: list[str], folder: Path, seconds: float) -> Found:
    """Run a section for ``seconds`` at most; return what it found until then."""
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    # What one that is killed leaves in TMPDIR goes with the folder.
    env = os.environ | {"PYTHONPATH": path, "TMPDIR": str(folder)}
    lines, errors = folder / "found.jsonl", folder / "errors"
    lines.write_text("")
    start = time.monotonic()
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
        ended: object = process.wait(seconds)
    except subprocess.TimeoutExpired:
        ended = "its time is over"
    finally:  # at a signal, too: end what it has started as well
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)  # what a driver holds may not die
    whole = (line for line in lines.read_text().splitlines(True) if line.endswith("\n"))
    found: Found = dict(map(json.loads, whole))
    if ended:
        found |= {"finished": False, "status": ended}
    if words := errors.read_text().splitlines():
        found["last words"] = words[-1]
    return found | {"seconds": round(time.monotonic() - start, 1)}


def is_kept(found: Found) -> bool:
    """Say whether every promise among what was found is kept."""
    return all(value is not False for value in found.values())


def section_table(name: str, found: Found) -> str:
    """Return what a section found as a table in Markdown."""
    lines = [f"\n**{name}**\n", "| what | found |", "| --- | --- |"]
    for key, value in found.items():
        told = ("yes" if value else "**no**") if isinstance(value, bool) else value
        lines.append(f"| {key} | {told} |")
    return "\n".join(lines)


if __name__ == "__main__":
    # Its sections run beside it.
    script.run(main, alone="--section" not in sys.argv)
