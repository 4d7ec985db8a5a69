"""Check and measure on a CUDA GPU what this project promises of one: ``make cuda``.

Takes under 8 minutes and writes ``benchmarks/results/cuda-<GPU>.md`` line by line, so it
may be stopped at any time; send that file. Each section runs in a process of its own, for
so long at most; where one fails, or hangs, what it found is kept, and the rest go on.

A bare machine needs PyTorch 2.11 or later, torchvision, NumPy, safetensors, tqdm, requests,
pytest, pydantic and ruamel.yaml, and ``data/raw`` and ``data/prepared`` as the stages write
them, but no network and no DVC. What it lacks may be carried there: ``pip install
--target=carried pydantic ruamel.yaml``, ``PYTHONPATH=src:carried``. ``--rehearse`` does
the same on the CPU with few images, and writes nothing.
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
import traceback
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
from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import load_params
from mnist_lstm.training.cudagraph import GraphedStep
from mnist_lstm.training.distributed import ShardedStep
from mnist_lstm.training.loop import Run, fit, start_run, train_step

Findings = Iterator[tuple[str, Any]]
Section = Callable[["Bench", str], Findings]  # of a precision


class Bench:
    """The device, the data and the parameters that a section works with."""

    def __init__(self, rehearse: bool):
        self.n = 60 if rehearse else None
        self.params: Any = load_params()
        self.device = torch.device("cpu" if rehearse else "cuda")
        self.precisions = ["fp32"]
        with suppress(UserError):  # not every CPU, nor every GPU, has an LSTM in bf16
            set_up(self.device.type, "bf16", 0)
            self.precisions.append("bf16")

    def split(self, name: str, n: int | None = None) -> Split:
        """Return the first ``n`` images of a split, on the device."""
        path = Path(f"data/prepared/{name}.safetensors")
        split = load_split(path, self.params.model, self.device)
        few = min(x for x in (n, self.n, len(split)) if x)
        return split.take(torch.arange(few, device=self.device))

    def start(self, precision: str, **changes: dict) -> Run:
        """Return a run of the default parameters, but for ``changes`` of sections."""
        model, train, augment = (
            getattr(self.params, name).model_copy(update=changes.get(name, {}))
            for name in ("model", "train", "augment")
        )
        return start_run(model, train, augment, set_up(self.device.type, precision, 0))


def eager(run: Run) -> Run:
    """Return ``run``, whose steps are no graph."""
    if isinstance(run.step, ShardedStep):
        run.step.gradient = run.step._gradient
    else:
        run.step = functools.partial(train_step, run)
    return run


def digest(run: Run) -> str:
    """Return a hash of the weights."""
    weights = (values.detach().cpu().numpy().tobytes() for values in run.model.parameters())
    return hashlib.sha256(b"".join(weights)).hexdigest()[:12]


def bits(bench: Bench, precision: str) -> Findings:
    """Train in shards with a graph and without; compare with what another process found."""
    from defaults import ALL_ON  # type: ignore[import-not-found]  # of the tests

    train, test = bench.split("train", 5000), bench.split("test", 500)
    path = Path(f"bits-{precision}.json")
    before = json.loads(path.read_text()) if path.exists() else {}
    found = {"fingerprint": bench.start(precision).fingerprint(train)}
    for title, changes, way in (
        ("plain", dict[str, dict](), "graph"),
        ("all on", ALL_ON, "graph"),
        ("shards", ALL_ON, "graph"),
        ("shards", ALL_ON, "eager"),
    ):
        few = changes.get("train", {}) | {"epochs": 2}
        few |= {"shards": 4} if title == "shards" else {}
        run = bench.start(precision, **changes | {"train": few})
        list(fit(eager(run) if way == "eager" else run, train, test))
        gradient = getattr(run.step, "gradient", None)
        if isinstance(gradient, GraphedStep):  # else the two ways are one and the same
            yield f"{title}: from a graph", bool(gradient.graphs)
        if way == "eager":
            yield f"{title}: the same without a graph", found[title] == digest(run)
        else:
            found[title] = digest(run)
    for title, value in found.items():
        yield title, value
        if title in before:
            yield f"{title}: the same in another process", value == before[title]
    path.write_text(json.dumps(found))


def steps(bench: Bench, precision: str) -> Findings:
    """Time a training step by hidden size, with a graph and without."""
    for hdim in (64, 256) if bench.n else (64, 128, 160, 192, 256, 384, 512, 1024):
        for way in ("graph", "eager"):
            run = bench.start(precision, model={"hdim": hdim})
            step = speed.training_step(eager(run) if way == "eager" else run)
            for _ in range(6):
                step()
            n = 1 if bench.n else 120
            start = speed.clock(bench.device)
            for _ in range(n):
                step()
            milliseconds = 1e3 * (speed.clock(bench.device) - start) / n
            yield f"hdim {hdim}, {way}", f"{milliseconds:.3g} ms"


def against(bench: Bench, _: str) -> Findings:
    """Train the notebook's way and ours, five epochs and both accuracies, in turn."""
    result = speed.compare(bench.n)
    yield "computes", result["project"]["machine"]
    for row in speed.rows(result["notebook"], result["project"]):
        what, theirs, ours, ratio = row.values()
        yield what, f"{theirs}, ours {ours}: {ratio}"
    last = [f"{result[way]['test_accuracy'][-1]:.2%}" for way in ("notebook", "project")]
    yield "test accuracy", f"{last[0]}, ours {last[1]}"


def tests(bench: Bench, _: str) -> Findings:
    """Run the tests that are marked `cuda`; to rehearse, those that speak of it."""
    files = [file for file in ROOT.glob("tests/*.py") if "mark.cuda" in file.read_text()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-k", "cuda or memory"] if bench.n else ["-m", "cuda"]
    env = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # none is needed
    done = subprocess.run([*command, *files], env=env, stdout=subprocess.PIPE, text=True)
    yield "pass", done.returncode == 0
    *lines, last = done.stdout.splitlines()
    yield "pytest", last
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            yield "pytest", line


# In this order; each with the seconds that it may take, and whether in each precision.
SECTIONS: dict[str, tuple[Section, int, bool]] = {
    "bits": (bits, 60, True),
    "bits again": (bits, 60, True),
    "against": (against, 165, False),
    "tests": (tests, 100, False),
    "steps": (steps, 60, True),
}


def main() -> None:
    """Run every section."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, few images")
    parser.add_argument("--section", nargs=2, help=argparse.SUPPRESS)  # and its file
    arguments = parser.parse_args()
    rehearse = arguments.rehearse
    if arguments.section:
        name, path = arguments.section
        sys.exit(0 if is_kept(name, Bench(rehearse), Path(path)) else 1)
    script.end_in_one_line()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder, "found.md")
        if not rehearse:
            set_up("cuda", "fp32", 0)  # says why, where there is none
            gpu = torch.cuda.get_device_name().lower().replace(" ", "-")
            path = (speed.RESULTS / f"cuda-{gpu}.md").resolve()
        path.write_text("")
        prepare(Path(folder), rehearse)
        failed = []
        for name, (_, seconds, _) in SECTIONS.items():
            before = len(path.read_text())
            add(path, f"\n**{name}**\n\n| what | found |\n| --- | --- |")
            command = [sys.executable, __file__, "--section", name, str(path)]
            command += ["--rehearse"] * rehearse
            slow = 20 if rehearse else 1  # a CPU
            if ended := run_section(command, Path(folder), slow * seconds):
                failed.append(name)
                add(path, f"| ends | {ended} |")
            print(path.read_text()[before:], end="", flush=True)
    if failed:
        raise UserError(f"not as promised: {', '.join(failed)}; the tables above say what")


def add(path: Path, line: str) -> None:
    """Add ``line`` to a file."""
    with path.open("a") as file:
        print(line, file=file)


def prepare(folder: Path, rehearse: bool) -> None:
    """Lay out in ``folder`` what the sections read: data and parameters."""
    for data in (Path("data/raw"), Path("data/prepared")):
        if not data.exists():
            raise UserError(f"{data}: missing; `dvc repro prepare` writes it")
    (folder / "data").symlink_to(data.parent.resolve())
    params = (ROOT / "params.yaml").read_text()
    params = re.sub(r"hdim: \d+", "hdim: 16", params) if rehearse else params
    (folder / "params.yaml").write_text(params)


def run_section(command: list[str], folder: Path, seconds: float) -> str:
    """Run a section for ``seconds`` at most; say what was wrong, if anything."""
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    # What one that is killed leaves in TMPDIR goes with the folder.
    env = os.environ | {"PYTHONPATH": path, "TMPDIR": str(folder)}
    errors = folder / "errors"
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
        if process.wait(seconds) == 0:
            return ""
    except subprocess.TimeoutExpired:
        return "its time is over"
    finally:  # at a signal, too: end what it has started as well
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)  # what a driver holds may not die
    return (errors.read_text().splitlines() or [f"with status {process.returncode}"])[-1]


def is_kept(name: str, bench: Bench, path: Path) -> bool:
    """Write what a section finds; return whether every promise in it is kept."""
    section, _, in_each = SECTIONS[name]
    kept = True
    for precision in bench.precisions if in_each else ["auto"]:
        for what, value in caught(section(bench, precision)):
            kept = kept and value is not False
            told = ("yes" if value else "**no**") if isinstance(value, bool) else value
            add(path, f"| {precision}, {what} | {told} |")
    return kept


def caught(findings: Findings) -> Findings:
    """Yield ``findings``, and what ends them: another precision may go on."""
    try:
        yield from findings
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        yield "ends without an error", False
        yield "error", f"{type(error).__name__}: {error} ({at.name}, line {at.lineno})"


if __name__ == "__main__":
    # Its sections run beside it.
    script.run(main, alone="--section" not in sys.argv)
