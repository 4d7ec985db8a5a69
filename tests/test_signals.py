"""What ends a stage early, at any moment: one line, the shell's status, no traceback."""

import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from project import TINY, create, heed_signals

STAGE = """
from mnist_lstm import errors, signals
signals.end_in_one_line()
import sys, time
from pathlib import Path
from mnist_lstm import files

def main():
    with files.replacing_folder(Path(sys.argv[1])) as folder:
        (folder / "half").touch()
        print("at work", flush=True)
        time.sleep(60)

errors.run(main)
"""


def stage(folder, before=heed_signals):
    return subprocess.Popen(
        [sys.executable, "-c", STAGE, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )


@pytest.mark.parametrize(
    ("signum", "line"),
    [
        (signal.SIGINT, "interrupted\n"),
        (signal.SIGTERM, "terminated\n"),
        (signal.SIGHUP, "hung up\n"),
    ],
)
def test_a_signal_ends_in_one_line_and_leaves_nothing_half_written(tmp_path, signum, line):
    with stage(tmp_path / "raw") as process:
        process.stdout.readline()
        process.send_signal(signum)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (128 + signum, line)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_is_ignored_from_the_start_stays_ignored(tmp_path):
    """As under `nohup`."""

    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with stage(tmp_path / "raw", before=ignore) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert errors == "terminated\n"


def wait_until_python_is_ours(pid):
    """Wait until the stage handles SIGTERM; Python itself does not."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():  # no Linux
        time.sleep(1)
        return
    caught = 0
    while not caught & 1 << signal.SIGTERM - 1:
        caught = int(re.search(r"SigCgt:\s*(\w+)", status.read_text())[1], 16)


def test_ctrl_c_while_a_stage_starts_is_one_line(tmp_path):
    """Most of its start is importing PyTorch, whose tracebacks fill a screen."""
    project = create(tmp_path / "project", TINY)
    chance = random.Random(0)
    for _ in range(4):
        with project.start("python", "stages/describe.py", PYTHONPATH="src") as process:
            wait_until_python_is_ours(process.pid)
            time.sleep(chance.uniform(0, 1.2))
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
        assert (process.returncode, output) == (130, "interrupted\n")
