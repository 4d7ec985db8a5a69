"""What a machine with a GPU runs, rehearsed on the CPU without what it may lack."""

import gzip
import os
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import cuda_check
from defaults import DIGITS, ROOT, augment_params, model_params, train_params
from mnist_lstm.model import LSTMClassifier
from mnist_lstm.splits import Split, save_split
from mnist_lstm.training.cudagraph import GraphedStep
from mnist_lstm.training.loop import Run

N = 60
LACKING = "dvc matplotlib pandas PIL scipy sklearn yaml".split()


@pytest.fixture
def data(tmp_path):
    """A folder with some images, as the stages write them."""
    for part, short in (("train", "train"), ("test", "t10k")):
        labels = torch.arange(N) % 10
        split = Split(torch.arange(N * 784).view(N, 28, 28).byte() % 10, labels, DIGITS)
        save_split(split, tmp_path / f"data/prepared/{part}.safetensors")
        for kind, values in (("images-idx3", split.images), ("labels-idx1", labels.byte())):
            magic = struct.pack(">4B", 0, 0, 8, values.dim())
            header = magic + struct.pack(f">{values.dim()}I", *values.shape)
            path = tmp_path / f"data/raw/{short}-{kind}-ubyte.gz"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(gzip.compress(header + values.numpy().tobytes()))
    return tmp_path


def lacking(folder, *names):
    """Let no process with ``folder`` on its path import modules of these names."""
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name} here')")


def start(data, *arguments, **env):
    path = os.pathsep.join([str(data / "lacking"), str(ROOT / "src")])
    return subprocess.Popen(
        [sys.executable, ROOT / "tools/cuda_check.py", *arguments],
        cwd=data,
        env=os.environ | {"PYTHONPATH": path, "STARTED_FOR": str(data)} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check(data, *arguments, **env):
    with start(data, *arguments, **env) as process:
        output, errors = process.communicate()
    tables = dict(part.split("**\n", 1) for part in output.strip("\n*").split("\n\n**"))
    return process.returncode, tables, errors


@pytest.mark.long
def test_a_bare_machine_runs_every_section_and_one_that_fails_stops_no_other(data):
    """Without git, too; and without torchvision, which it needs for one section."""
    lacking(data / "lacking", *LACKING, "torchvision")
    status, tables, errors = check(data, "--rehearse", PATH=str(data))
    assert list(tables) == list(cuda_check.SECTIONS)
    against = tables.pop("against")
    assert "| ok | **no** |" in against
    assert "| error | ModuleNotFoundError: no torchvision here (" in against
    for table in tables.values():
        assert "| ok | yes |" in table, table
    for promise in ("the same twice", "the same without a graph"):
        assert f"| fp32, all on in shards: {promise} | yes |" in tables["bits"]
    elsewhere = "weights, the same in another process"
    assert f"| fp32, all on in shards: {elsewhere} | yes |" in tables["bits again"]
    assert "| passed | 1" in tables["tests"]
    assert status == 1
    assert errors == "error: not as promised: against; the tables above say what\n"


@pytest.mark.long
def test_the_notebooks_way_is_measured_turn_by_turn(data):
    status, tables, _ = check(data, "--rehearse", "--only", "against")
    assert status == 0
    for line in (
        "| epoch 1, notebook | train ",
        "| epoch 1, project | train ",
        "| job but ",
    ):
        assert line in tables["against"]


def alive(data):
    """Return the command lines of the processes that were started for ``data``."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # another's, or gone
            if f"STARTED_FOR={data}\0".encode() in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_bytes().decode())
    return found


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no Linux")
@pytest.mark.parametrize(
    "signum", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_a_signal_ends_all_that_it_started_and_leaves_nothing(data, tmp_path, signum):
    (tmp_path / "scratch").mkdir()
    env = {"TMPDIR": str(tmp_path / "scratch")}
    with start(data, "--rehearse", "--only", "against", **env) as process:
        wait_until(lambda: sum("spawn_main" in command for command in alive(data)) >= 2)
        process.send_signal(signum)
        _, errors = process.communicate(timeout=60)
    said = {signal.SIGINT: "interrupted\n", signal.SIGTERM: "terminated\n"}
    assert (process.returncode, errors) == (128 + signum, said[signum])
    wait_until(lambda: not alive(data), 5)
    assert list((tmp_path / "scratch").iterdir()) == []


HANGS = """
import subprocess, sys, time
with open("found.jsonl", "w") as lines:
    lines.write('["first", 1]\\n["first", 2]\\n["half')
print("noise", file=sys.stderr)
child = subprocess.Popen(["sleep", "600"])
open("pid", "w").write(str(child.pid))
time.sleep(600)
"""


def is_gone(pid):
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_section_that_hangs_ends_with_what_it_found_and_all_it_started(tmp_path):
    command = [sys.executable, "-c", HANGS]
    found = cuda_check.run_section(command, tmp_path, time.monotonic() + 3)
    assert found.pop("seconds") < 10
    assert found == {"ok": False, "first": 2, "not finished": "its time is over"}
    wait_until(lambda: is_gone(int((tmp_path / "pid").read_text())), 5)
    dies = [sys.executable, "-c", "import sys; sys.exit('why')"]
    found = cuda_check.run_section(dies, tmp_path, time.monotonic() + 60)
    del found["seconds"]
    assert found == {"ok": False, "failed with status 1": "why"}


def test_sections_take_8_minutes_at_most():
    assert sum(seconds for _, seconds in cuda_check.SECTIONS.values()) <= 460


def test_what_fails_in_one_precision_leaves_the_other():
    @cuda_check.each_precision
    def section(bench, name):
        yield "first", 1
        if name == "fp32":
            raise RuntimeError("no kernel")
        yield "second", 2

    found = dict(section(SimpleNamespace(precisions=["fp32", "bf16"])))
    error = found.pop("fp32, error")
    assert error.startswith("RuntimeError: no kernel (test_cuda_check.py:")
    assert found == {
        "fp32, first": 1,
        "fp32, ends without an error": False,
        "bf16, first": 1,
        "bf16, second": 2,
    }


@pytest.mark.parametrize("shards", [1, 4])
def test_a_capture_that_fails_is_a_broken_promise(shards):
    """Else, with and without a graph would be one and the same."""
    model = LSTMClassifier(model_params(hdim=4, n_layer=1))
    run = Run(model, train_params(shards=shards), augment_params())
    assert dict(cuda_check.graphed("job", run)) == {}
    owner, name = (run.step, "gradient") if shards > 1 else (run, "step")
    setattr(owner, name, step := GraphedStep(getattr(owner, name)))
    assert dict(cuda_check.graphed("job", run)) == {"job: from a graph": False}
    step.graphs[torch.Size([])] = None
    assert dict(cuda_check.graphed("job", run)) == {"job: from a graph": True}
    assert dict(cuda_check.graphed("job", cuda_check.eager(run))) == {}


def test_other_bits_in_another_process_are_a_broken_promise():
    before = {"fp32, fingerprint": "a", "fp32, plain: weights": "b", "seconds": 1}
    after = before | {"fp32, plain: weights": "c", "seconds": 2}
    found = dict(cuda_check.differs(after, before))
    assert found == {
        "fp32, fingerprint, the same in another process": True,
        "fp32, plain: weights, the same in another process": False,
    }
    assert not cuda_check.is_kept(found)
    assert "weights, the same in another process | **no** |" in cuda_check.section_table(
        "bits again", found
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_one_line(data):
    with start(data) as process:
        output, errors = process.communicate()
    assert (process.returncode, output) == (1, "")
    (line,) = errors.splitlines()
    assert line.startswith("error: params.yaml: train.device must be auto or cpu: ")


def test_without_data_it_says_where_it_looked(tmp_path):
    with start(tmp_path, "--rehearse") as process:
        _, errors = process.communicate()
    assert errors == "error: data/raw: missing; `dvc repro prepare` writes it\n"
