"""How a script ends: one line, the shell's status, no traceback."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from defaults import TINY
from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.script import Stopped
from sandbox import create, heed_signals

STAGE = """
from mnist_lstm.plumbing import script
script.end_in_one_line()
import sys, time
from pathlib import Path
from mnist_lstm.plumbing.files import replacing_folder

def main():
    with replacing_folder(Path(sys.argv[1])) as folder:
        (folder / "half").touch()
        print("at work", flush=True)
        time.sleep(60)

script.run(main)
"""


@pytest.mark.parametrize(
    ("ignored", "signum", "line"),
    [
        (None, signal.SIGINT, "interrupted\n"),
        (None, signal.SIGHUP, "hung up\n"),
        (signal.SIGHUP, signal.SIGTERM, "terminated\n"),
    ],
)
def test_a_signal_ends_in_one_line_and_leaves_nothing_half_written(
    tmp_path, ignored, signum, line
):
    """One that is ignored from the start, as under `nohup`, stays ignored."""

    def before():
        heed_signals()
        if ignored:
            signal.signal(ignored, signal.SIG_IGN)

    command = [sys.executable, "-c", STAGE, tmp_path / "raw"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, preexec_fn=before) as process:
        process.stdout.readline()
        for each in filter(None, (ignored, signum)):
            process.send_signal(each)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (128 + signum, line)
    assert list(tmp_path.iterdir()) == []


def wait_until_python_is_ours(pid):
    """Wait until the stage handles SIGTERM; Python itself does not."""
    caught = 0
    while not caught & 1 << signal.SIGTERM - 1:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_ctrl_c_while_a_stage_starts_is_one_line(tmp_path):
    """Most of its start is importing PyTorch, whose tracebacks fill a screen."""
    project = create(tmp_path / "project", TINY)
    with project.start("python", "stages/describe.py", PYTHONPATH="src") as process:
        wait_until_python_is_ours(process.pid)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "interrupted\n")


FULL = "No space left on device"


@pytest.fixture
def ended(capsys, monkeypatch):
    """Return a function that runs ``main``; it returns the status and standard error."""
    monkeypatch.setattr(script, "_handle", lambda _: None)  # for the rest of the tests

    def ended(main, **options):
        with pytest.raises(SystemExit) as caught:
            script.run(main, **options)
        return caught.value.code, capsys.readouterr().err

    return ended


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (UserError("a\nerror: b\x1b[31m"), "error: a\\nerror: b\\x1b[31m\n"),
        (UserError("two", "lines"), "error: two\nlines\n"),
        (OSError(28, FULL, "a"), f"error: a: {FULL}; make room, then run this again\n"),
        (OSError("no number"), "error: no number\n"),
        (
            RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"),
            "error: CUDA is out of memory; lower model.hdim in params.yaml\n",
        ),
        (Stopped(signal.SIGINT, "epoch 2, step 3"), "interrupted; epoch 2, step 3\n"),
    ],
)
def test_what_a_person_can_put_right_is_one_line_and_the_shells_status(ended, error, lines):
    def main():
        raise error

    status = 130 if isinstance(error, Stopped) else 1
    assert ended(main, lower=["model.hdim"]) == (status, lines)


@pytest.mark.parametrize("on", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_what_memory_cannot_hold_is_one_line(ended, on):
    status, line = ended(lambda: torch.empty(2**60, device=on))
    assert status == 1
    assert line == f"error: {'CUDA is ' * (on == 'cuda')}out of memory\n"


def test_a_stage_whose_dvc_is_gone_does_nothing(ended, monkeypatch):
    """Nobody would record what it makes, and the next `dvc repro` would meet it."""
    monkeypatch.setattr(script, "_PARENT", -1)
    script.run(lambda: None)  # by hand, under nohup
    monkeypatch.setenv("DVC_STAGE", "train")
    gone = "terminated; DVC, which started this, is gone\n"
    assert ended(pytest.fail) == (143, gone)


def test_a_bug_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="size of tensor"):
        script.run(lambda: torch.ones(2) + torch.ones(3))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_standard_output_is_one_line():
    code = "from mnist_lstm.plumbing import script; script.run(lambda: print(1))"
    command = [sys.executable, "-c", code]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    line = f"error: {FULL}; make room, then run this again\n"
    assert (done.returncode, done.stderr) == (1, line)


@pytest.mark.parametrize(
    ("job", "speaks"), [("SLURM_JOB_ID", 1), ("TORCHELASTIC_RUN_ID", 0)]
)
def test_only_a_worker_of_torchruns_is_silent(job, speaks):
    """The environment of a cluster's job may hold RANK, too."""
    code = "from mnist_lstm.plumbing import environment, script\n"
    code += "script.run(lambda: environment.number_from('RANK', 1, 0))"
    env = os.environ | {job: "7", "WORLD_SIZE": "2", "RANK": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: RANK must be ") == speaks
