"""What a machine with a GPU runs, rehearsed on the CPU without what it may lack."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import cuda_check
import unchecked
from defaults import ROOT
from mnist_lstm import idx
from mnist_lstm.datasets import FILES
from mnist_lstm.plumbing.params import parse_yaml
from mnist_lstm.training.cudagraph import GraphedStep

N = 60
LACKING = "dvc matplotlib pandas PIL pydantic ruamel scipy sklearn yaml".split()


@pytest.fixture
def data(tmp_path):
    """A folder with some images."""
    for name, file in FILES.items():
        shape = (N, 28, 28) if "images" in name else (N,)
        values = bytes(i % 10 for i in range(torch.Size(shape).numel()))
        idx.write(tmp_path / "mnist" / file, idx.Array(shape, values))
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
        env=os.environ | {"PYTHONPATH": path, "DATA_MIRROR": str(data)} | env,
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
        assert f"| fp32, all on: {promise} | yes |" in tables["bits"]
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
            if f"DATA_MIRROR={data}\0".encode() in (path / "environ").read_bytes():
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


class Refused(GraphedStep):
    """A step on the CPU whose capture fails, as it may on a GPU."""

    def _beside(self, x, y):
        return self.step(x, y)

    def _capture(self, x, y):
        pass


@pytest.mark.parametrize("section", ["bits", "steps", "shares"])
def test_a_capture_that_fails_is_a_broken_promise(data, monkeypatch, section):
    """Else, with and without a graph would be one and the same."""
    monkeypatch.setenv("DATA_MIRROR", str(data))
    monkeypatch.chdir(data)
    cuda_check.prepare(data, rehearse=True)
    bench = cuda_check.Bench("cpu", N)
    bench.precisions = ["fp32"]
    start = bench.start

    def refused(*arguments, **sections):
        run = start(*arguments, **sections)
        run.step = Refused(run.step)
        return run

    monkeypatch.setattr(bench, "start", refused)
    run, _ = cuda_check.SECTIONS[section]
    promises = [value for what, value in run(bench) if what.endswith(": from a graph")]
    assert promises
    assert not any(promises)


def test_steps_that_come_from_a_graph_keep_the_promise():
    step = GraphedStep(lambda x, y: x)
    step.graph = object()
    promise = cuda_check.graphed("job", SimpleNamespace(step=step))
    assert dict(promise) == {"job: from a graph": True}
    assert dict(cuda_check.graphed("job", SimpleNamespace(step=step.step))) == {}


def test_a_container_may_lack_nvidia_smi_and_a_profiler_see_nothing(monkeypatch, tmp_path):
    gpu = SimpleNamespace(name="H100", major=9, minor=0, total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: gpu)
    monkeypatch.setattr(cuda_check, "Compute", lambda *_: "a GPU")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = dict(cuda_check.environment(SimpleNamespace(cuda=True, device=None)))
    assert found.keys() == {"computes", "GPU", "capability", "memory"}
    assert cuda_check.longest({"copy": 0.0}) == "copy 0%"
    assert cuda_check.longest({}) == ""


@pytest.mark.parametrize("broken", ["import nothing_at_all", "def test_cuda(): assert 0"])
def test_tests_that_fail_or_cannot_be_read_are_no_success(tmp_path, broken):
    """In a process of its own, as pytest runs in it."""
    (tmp_path / "tests").mkdir()
    for name in ("test_device", "test_training", "test_checkpoint", "test_script"):
        (tmp_path / f"tests/{name}.py").write_text("def test_cuda(): pass")
    (tmp_path / "tests/test_device.py").write_text(broken)
    code = (
        "import cuda_check, pathlib, types\n"
        f"cuda_check.ROOT = pathlib.Path({str(tmp_path)!r})\n"
        "found = dict(cuda_check.tests(types.SimpleNamespace(n=60)))\n"
        "print(found['pass'], found['failure 1'])"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "tools"), "src"])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].startswith("False tests/test_device.py"), done


def test_results_appear_whole_or_not_at_all(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "An H100")
    monkeypatch.setattr(cuda_check, "RESULTS", tmp_path)
    cuda_check.write({"bits": {"ok": True}})
    for suffix in ("json", "md"):  # what is replaced, not filled anew, stays under a link
        os.link(tmp_path / f"cuda-an-h100.{suffix}", tmp_path / f"before.{suffix}")
    cuda_check.write({"bits": {"ok": True}, "tests": {"ok": False}})
    assert "tests" in (tmp_path / "cuda-an-h100.json").read_text()
    assert "**no**" in (tmp_path / "cuda-an-h100.md").read_text()
    for suffix in ("json", "md"):
        assert "tests" not in (tmp_path / f"before.{suffix}").read_text()


def test_a_promise_that_is_not_kept_is_seen():
    found = {"fp32: the same twice": False, "seconds": 0.0}
    table = cuda_check.section_table("bits", found)
    assert "| fp32: the same twice | **no** |" in table
    assert not cuda_check.is_kept(found)
    assert cuda_check.is_kept({"fp32: the same twice": True, "seconds": 0.0})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_one_line(data):
    with start(data) as process:
        output, errors = process.communicate()
    assert (process.returncode, output) == (1, "")
    (line,) = errors.splitlines()
    assert line.startswith("error: params.yaml: train.device must be auto or cpu: ")


def test_without_data_it_says_where_it_looked():
    if (ROOT / "data/raw").exists():
        pytest.skip("there are data")
    with start(
        Path("unused"), "--rehearse", DATA_MIRROR="http://me:secret@host/"
    ) as process:
        _, errors = process.communicate()
    assert errors.startswith("error: no MNIST in ")
    assert " nor http://me:***@host/mnist; " in errors


def test_without_a_reader_of_yaml_the_parameters_are_the_same():
    text = (ROOT / "params.yaml").read_text()
    assert unchecked.parse_yaml(text) == parse_yaml(text, "params.yaml")
    assert unchecked.load_params(ROOT / "params.yaml").model_dump() == parse_yaml(text, "")
