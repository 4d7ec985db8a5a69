"""What a machine with a GPU runs, rehearsed on the CPU without what it may lack."""

import os
import subprocess
import sys

import pytest
import torch

import cuda_check
from defaults import ROOT
from mnist_lstm import idx
from mnist_lstm.datasets import FILES
from mnist_lstm.plumbing.params import parse_yaml

N = 60


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A machine without DVC, pydantic, a YAML reader or torchvision, and some images."""
    folder = tmp_path_factory.mktemp("bare")
    for name in ("pydantic", "ruamel", "dvc", "torchvision"):
        (folder / f"{name}.py").write_text("raise ModuleNotFoundError('not here')")
    for name, file in FILES.items():
        shape = (N, 28, 28) if "images" in name else (N,)
        values = bytes(i % 10 for i in range(torch.Size(shape).numel()))
        idx.write(folder / "mnist" / file, idx.Array(shape, values))
    return folder


def check(bare, *arguments, **env):
    path = os.pathsep.join([str(bare), str(ROOT / "src")])
    return subprocess.run(
        [sys.executable, ROOT / "tools/cuda_check.py", *arguments],
        env=os.environ | {"PYTHONPATH": path, "DATA_MIRROR": str(bare)} | env,
        capture_output=True,
        text=True,
    )


@pytest.mark.long
def test_a_bare_machine_runs_it_and_a_section_that_fails_stops_no_other(bare):
    result = check(bare, "--rehearse", "--only", "against", "bits", "parity")
    against, bits, parity = result.stdout.strip().split("\n\n**")
    assert "| ok | **no** |" in against
    assert "not here" in against
    for table in (bits, parity):
        assert "| ok | yes |" in table, table
    assert "fp32, all on: the same twice | yes |" in bits
    assert "fp32, all on: the same without a graph | yes |" in bits
    assert result.returncode == 1
    assert result.stderr == ("error: not as promised: against; the tables above say what\n")


def test_a_promise_that_is_not_kept_is_seen():
    found = {"fp32: the same twice": False, "seconds": 0.0}
    table = cuda_check.section_table("bits", found)
    assert "| fp32: the same twice | **no** |" in table
    assert not cuda_check.is_kept(found)
    assert cuda_check.is_kept({"fp32: the same twice": True, "seconds": 0.0})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_one_line(bare):
    result = check(bare)
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: params.yaml: train.device must be auto or cpu: ")


def test_without_data_it_says_where_it_looked(bare, tmp_path):
    if (ROOT / "data/raw").exists():
        pytest.skip("there are data")
    result = check(bare, "--rehearse", DATA_MIRROR=str(tmp_path))
    assert result.stderr.startswith("error: no MNIST in ")


def test_without_a_reader_of_yaml_the_parameters_are_the_same():
    text = (ROOT / "params.yaml").read_text()
    assert cuda_check.parse_unchecked(text) == parse_yaml(text, "params.yaml")
