"""Work that several processes share: its results, and how it ends."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from mnist_lstm.plumbing import processes
from mnist_lstm.plumbing.processes import mapped
from sandbox import heed_signals

STAGE = """
import multiprocessing, time
from mnist_lstm.plumbing import script
script.end_in_one_line()
from mnist_lstm.plumbing.processes import mapped

def work(number):
    time.sleep(0.05)
    return number

def main():
    with mapped(work, range(10_000), 2) as results:
        for i, _ in enumerate(results):
            if i == 10:
                pids = [child.pid for child in multiprocessing.active_children()]
                print(*pids, flush=True)

script.run(main)
"""


def work(number):
    if number == 250:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == -1:
        raise MemoryError
    return number, os.getpid()


@pytest.mark.parametrize("n", [processes._FEW - 1, 240])
def test_several_processes_share_what_is_worth_it_in_the_order_of_one(n):
    with mapped(work, range(n), 3) as results:
        numbers, pids = zip(*results, strict=True)
    assert numbers == tuple(range(n))
    assert (os.getpid() in pids) == (n < processes._FEW)


@pytest.mark.parametrize("things", [range(1000), [*range(1, 200), -1, 1]])
def test_a_worker_without_memory_ends_the_work(things):
    with pytest.raises(MemoryError), mapped(work, things, 2) as results:
        list(results)


@pytest.mark.parametrize(
    ("stop", "signum", "status", "errors"),
    [
        (os.killpg, signal.SIGINT, 130, "interrupted\n"),  # as by a terminal
        (os.kill, signal.SIGKILL, -9, ""),
    ],
)
def test_all_end_with_the_one_that_is_stopped(stop, signum, status, errors):
    command = [sys.executable, "-c", STAGE]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        command, **pipes, start_new_session=True, preexec_fn=heed_signals
    ) as process:
        pids = list(map(int, process.stdout.readline().split()))
        assert len(pids) == 2
        stop(process.pid, signum)
        assert process.communicate(timeout=60) == ("", errors)
        assert process.returncode == status
    deadline = time.monotonic() + 20
    while any(map(psutil.pid_exists, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
