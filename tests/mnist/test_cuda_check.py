"""What a machine with a GPU runs, rehearsed on the CPU without what it may lack."""

import gzip
import os
import struct
import subprocess
import sys
import time

import psutil
import pytest
import torch

import cuda_check
from defaults import DIGITS, ROOT, augment_params, model_params, train_params
from mnist_lstm.data.splits import Split, save_split
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.training.cudagraph import GraphedStep
from mnist_lstm.training.loop import Run

N = 60
LACKING = "dvc matplotlib pandas PIL scipy sklearn torchvision yaml".split()


@pytest.fixture
def data(tmp_path):
    """A folder with some images, as the stages write them."""
    for part, short in (("train", "train"), ("test", "t10k")):
        labels = torch.arange(N) % 10
        split = Split(torch.arange(N * 784).view(N, 28, 28).byte() % 10, labels, DIGITS)
        save_split(split, tmp_path / f"data/prepared/{part}.safetensors")
        for kind, values in (("images-idx3", split.x), ("labels-idx1", labels.byte())):
            magic = struct.pack(">4B", 0, 0, 8, values.dim())
            header = magic + struct.pack(f">{values.dim()}I", *values.shape)
            path = tmp_path / f"data/raw/{short}-{kind}-ubyte.gz"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(gzip.compress(header + values.numpy().tobytes()))
    return tmp_path


def start(data, *arguments, **env):
    path = os.pathsep.join([str(data / "lacking"), str(ROOT / "src")])
    return subprocess.Popen(
        [sys.executable, ROOT / "tools/cuda_check.py", *arguments],
        cwd=data,
        env=os.environ | {"PYTHONPATH": path} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_bare_machine_runs_every_section_and_one_that_fails_stops_no_other(data):
    """Without git, too; and without torchvision, which it needs for one section."""
    (data / "lacking").mkdir()
    for name in LACKING:
        fails = f"raise ModuleNotFoundError('no {name} here')"
        (data / f"lacking/{name}.py").write_text(fails)
    with start(data, "--rehearse", PATH=str(data)) as process:
        output, errors = process.communicate()
    tables = dict(part.split("**\n", 1) for part in output.strip("\n*").split("\n\n**"))
    assert list(tables) == list(cuda_check.SECTIONS)
    against = tables.pop("against")
    assert "| ends without an error | **no** |" in against
    assert "| error | ModuleNotFoundError: no torchvision here (" in against
    assert [table for table in tables.values() if "**no**" in table] == []
    for promise in ("the same twice", "the same without a graph"):
        assert f"| fp32, all on in shards: {promise} | yes |" in tables["bits"]
    elsewhere = "weights, in another process"
    assert f"| fp32, all on in shards: {elsewhere} | yes |" in tables["bits again"]
    assert "| pass | yes |" in tables["tests"]
    assert process.returncode == 1
    assert errors == "error: not as promised: against; the tables above say what\n"


def test_a_section_that_hangs_ends_with_what_it_found_and_all_it_started(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "open('found.jsonl', 'w').write('[\"first\", 1]\\n[\"half')\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "open('pid', 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    command = [sys.executable, "-c", code]
    found = cuda_check.run_section(command, tmp_path, 2)
    assert found.pop("seconds") < 10
    assert found == {"first": 1, "finished": False, "status": "its time is over"}
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10  # a killed process needs a moment to be gone
    while psutil.pid_exists(child) and psutil.Process(child).status() != "zombie":
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("shards", [1, 4])
def test_a_capture_that_fails_is_a_broken_promise(shards):
    """Else, with and without a graph would be one and the same."""
    model = LSTMClassifier(model_params(hdim=4, n_layer=1))
    run = Run(model, train_params(shards=shards), augment_params())
    owner, name = (run.step, "gradient") if shards > 1 else (run, "step")
    setattr(owner, name, step := GraphedStep(getattr(owner, name)))
    assert dict(cuda_check.graphed("job", run)) == {"job: from a graph": False}
    step.graphs[torch.Size([])] = None
    assert dict(cuda_check.graphed("job", run)) == {"job: from a graph": True}
    assert dict(cuda_check.graphed("job", cuda_check.eager(run))) == {}


def test_without_data_it_says_where_it_looked(tmp_path):
    with start(tmp_path, "--rehearse") as process:
        _, errors = process.communicate()
    assert errors == "error: data/raw: missing; `dvc repro prepare` writes it\n"
