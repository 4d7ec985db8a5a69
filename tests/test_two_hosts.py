"""Training on two hosts: folders of one machine, or network namespaces that a cable joins.

The latter take root and Linux.
"""

import os
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from sharded import assert_trained_as, project, whole, workers_of
from test_resume import RESUMING, wait_for_epoch


def start(projects, addresses, devices, port, *within, **env):
    """Start torchrun on both hosts, as docs/scale.md says; two workers in all."""
    hosts = zip(projects, addresses, devices, strict=True)
    return [
        project.start(
            *(word.format(device) for word in within),
            *("python", "-m", "torch.distributed.run", "--nnodes=2"),
            *("--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-id=job-{os.getpid()}"),
            f"--rdzv-endpoint={addresses[0]}:{port}",
            f"--rdzv-conf=is_host={str(not rank).lower()},join_timeout=60",
            f"--local-addr={address}",
            "stages/train.py",
            PYTHONPATH="src",
            GLOO_SOCKET_IFNAME=device,
            **env,
        )
        for rank, (project, address, device) in enumerate(hosts)
    ]


@pytest.mark.long
def test_two_hosts_write_the_bytes_of_one(project, whole, tmp_path):
    other = project.copy(tmp_path / "other host")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for process in start((project, other), ["127.0.0.1"] * 2, ["lo"] * 2, port):
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert_trained_as(project, whole)
    assert not (other.path / "models").exists()  # the first worker writes


ADDRESSES = ("10.77.0.1", "10.77.0.2")


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def two_hosts():
    """Give the names of two namespaces, each with a device of its name."""
    names = [f"host{os.getpid()}{letter}" for letter in "ab"]
    with ExitStack() as stack:
        for name in names:
            ip("netns", "add", name)
            stack.callback(ip, "netns", "delete", name)
        a, b = names
        ip("link", "add", a, "type", "veth", "peer", "name", b)
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("link", "set", name, "netns", name)
            ip("-netns", name, "addr", "add", f"{address}/24", "dev", name)
            ip("-netns", name, "link", "set", name, "up")
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


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "they can be had")
@pytest.mark.slow
def test_a_cut_link_ends_in_one_line_and_costs_no_byte(project, whole, tmp_path):
    """On both hosts training ends within TRAIN_TIMEOUT and the seconds of ending.

    torchrun itself hangs where it is cut off from the first host, as docs/scale.md says.
    """
    other = project.copy(tmp_path / "other host")
    within = ("ip", "netns", "exec", "{}")
    with two_hosts() as hosts:
        args = (project, other), ADDRESSES, hosts, 29400
        first, second = start(*args, *within, TRAIN_TIMEOUT="5")
        (trainer,) = workers_of(second)
        wait_for_epoch(project, 2)  # of 12
        ip("-netns", hosts[1], "link", "set", hosts[1], "down")
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
    again = project.run("python", "stages/train.py", PYTHONPATH="src")
    assert int(RESUMING.search(again)[1]) >= 3
    assert_trained_as(project, whole)
