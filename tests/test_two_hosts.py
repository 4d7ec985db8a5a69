"""Training on two hosts, network namespaces that a cable joins: it takes root and Linux."""

import os
import subprocess
import time
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from sharded import SHARDED, workers_of
from test_resume import RESUMING, results, wait_for_epoch

ADDRESSES = ("10.77.0.1", "10.77.0.2")


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def two_hosts():
    """Give the names of two namespaces, each with a device ``NAME-0``."""
    names = [f"host{os.getpid()}{letter}" for letter in "ab"]
    with ExitStack() as stack:
        for name in names:
            ip("netns", "add", name)
            stack.callback(ip, "netns", "delete", name)
        a, b = (f"{name}-0" for name in names)
        ip("link", "add", a, "type", "veth", "peer", "name", b)
        for name, device, address in zip(names, (a, b), ADDRESSES, strict=True):
            ip("link", "set", device, "netns", name)
            ip("-netns", name, "addr", "add", f"{address}/24", "dev", device)
            ip("-netns", name, "link", "set", device, "up")
            ip("-netns", name, "link", "set", "lo", "up")
        yield names


def why_not():
    """Return why two hosts cannot be had here; nothing where they can."""
    if os.geteuid() != 0:
        return "not root"
    try:
        with two_hosts():
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces: {error}"


WHY_NOT = why_not()


def start(names, projects):
    """Start torchrun on both hosts, as docs/scale.md says; two workers in all."""
    return [
        project.start(
            *("ip", "netns", "exec", name),
            *("python", "-m", "torch.distributed.run", "--nnodes=2"),
            *("--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=a-job"),
            f"--rdzv-endpoint={ADDRESSES[0]}:29400",
            f"--rdzv-conf=is_host={str(name is names[0]).lower()}",
            f"--local-addr={address}",
            "stages/train.py",
            PYTHONPATH="src",
            GLOO_SOCKET_IFNAME=f"{name}-0",
            TRAIN_TIMEOUT="5",
        )
        for name, address, project in zip(names, ADDRESSES, projects, strict=True)
    ]


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "they can be had")
@pytest.mark.long
def test_a_cut_link_ends_in_one_line_and_costs_no_byte(prepared, tmp_path):
    """On both hosts training ends within TRAIN_TIMEOUT and the seconds of ending.

    torchrun itself hangs where it is cut off from the first host, as docs/scale.md says.
    """
    project = prepared.copy(tmp_path / "project")
    project.set_params(SHARDED)
    alone, other = (project.copy(tmp_path / name) for name in ("alone", "other host"))
    alone.run("python", "stages/train.py", PYTHONPATH="src")
    with two_hosts() as names:
        first, second = start(names, (project, other))
        (trainer,) = workers_of(second)
        wait_for_epoch(project, 2)  # of 12
        ip("-netns", names[1], "link", "set", f"{names[1]}-0", "down")
        cut = time.monotonic()
        output, _ = first.communicate(timeout=120)
        psutil.wait_procs([trainer], timeout=30)
        assert not trainer.is_running() or trainer.status() == psutil.STATUS_ZOMBIE
        assert time.monotonic() - cut < 60
        second.kill()
        second.communicate()
    assert first.returncode == 1
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: another worker is gone, or does not answer; ")
    assert not (other.path / "models").exists()  # the first worker writes
    again = project.run("python", "stages/train.py", PYTHONPATH="src")
    assert int(RESUMING.search(again)[1]) >= 3
    model = "models/model.safetensors"
    assert results(project)[model] == results(alone)[model]
