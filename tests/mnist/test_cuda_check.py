"""What a machine with a GPU runs, rehearsed on the CPU without what it may lack."""

import os
import re
import sys

import psutil
import pytest
import torch

import cuda_check
from defaults import DIGITS, ROOT
from mnist_lstm.data.splits import Split, save_split
from sandbox import Sandbox
from sweeping import wait_for

N = 60
LACKING = "dvc matplotlib pandas PIL scipy sklearn torchvision yaml".split()


@pytest.fixture
def data(tmp_path):
    """A folder with some images, as the stages write them."""
    (tmp_path / "data/raw").mkdir(parents=True)
    for name in ("train", "test"):
        x = torch.arange(N * 784).view(N, 28, 28).byte() % 10
        split = Split(x, torch.arange(N) % 10, DIGITS)
        save_split(split, tmp_path / f"data/prepared/{name}.safetensors")
    return tmp_path


def rehearsed(folder, **env):
    """Return all that a rehearsal in ``folder`` prints, which fails."""
    path = os.pathsep.join([str(folder / "lacking"), str(ROOT / "src")])
    command = (sys.executable, str(ROOT / "tools/cuda_check.py"), "--rehearse")
    return Sandbox(folder).run(*command, ok=False, PYTHONPATH=path, **env)


@pytest.mark.slow
def test_a_bare_machine_runs_every_section_and_one_that_fails_stops_no_other(data):
    """Without git, too; and without torchvision, which it needs for one section."""
    (data / "lacking").mkdir()
    for name in LACKING:
        fails = f"raise ModuleNotFoundError('no {name} here')"
        (data / f"lacking/{name}.py").write_text(fails)
    *lines, last = rehearsed(data, PATH=str(data)).strip().splitlines()
    output = "\n".join(lines)
    tables = dict(part.split("**\n", 1) for part in output.strip("\n*").split("\n\n**"))
    assert list(tables) == list(cuda_check.SECTIONS)
    against = tables.pop("against")
    assert "error | ModuleNotFoundError: no torchvision here (" in against
    assert [t for t in tables.values() if "**no**" in t or "| ends |" in t] == []
    assert "| fp32, shards: the same without a graph | yes |" in tables["bits"]
    assert "| fp32, shards: the same in another process | yes |" in tables["bits again"]
    assert re.search(r"pass \| yes \|\n.*\d+ passed", tables["tests"])
    assert last == "error: not as promised: against; the tables above say what"


def test_a_section_that_hangs_ends_with_all_it_started(tmp_path):
    command = ["bash", "-c", "sleep 600 & echo $! > pid; wait"]
    assert cuda_check.run_section(command, tmp_path, 2) == "its time is over"
    child = int((tmp_path / "pid").read_text())
    wait_for(
        lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"
    )


def test_without_data_it_says_where_it_looked(tmp_path):
    said = rehearsed(tmp_path)
    assert said == "error: data/raw: missing; `dvc repro prepare` writes it\n"
