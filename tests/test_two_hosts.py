"""Training on two hosts, each with its own network and its own copy of the project."""

import statistics
import subprocess
import time

import psutil
import pytest

import hosts
from test_distributed import SHARDED, workers_of
from test_resume import RESUMING, results, wait_for_epoch

WHY_NOT = hosts.available()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "they can be had")


@pytest.fixture
def project(prepared, tmp_path):
    project = prepared.copy(tmp_path / "project")
    project.set_params(SHARDED)
    project.set_params({"train": {"epochs": 3}})
    return project


@pytest.fixture
def whole(project, tmp_path):
    """The bytes of one worker."""
    alone = project.copy(tmp_path / "alone")
    alone.run("python", "stages/train.py", PYTHONPATH="src")
    return results(alone)


def start(pair, projects, **env):
    """Start torchrun on both hosts, as docs/scale.md says; two workers in all."""
    return [
        project.start(
            *host.command("python", "-m", "torch.distributed.run", "--nnodes=2"),
            *("--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=a-job"),
            f"--rdzv-endpoint={hosts.ADDRESSES[0]}:29400",
            f"--rdzv-conf=is_host={str(host is pair[0]).lower()}",
            f"--local-addr={host.address}",
            "stages/train.py",
            PYTHONPATH="src",
            GLOO_SOCKET_IFNAME=host.device,
            **env,
        )
        for host, project in zip(pair, projects, strict=True)
    ]


@pytest.mark.parametrize(
    "delay",
    [
        pytest.param(0, id="a cable", marks=pytest.mark.long),
        pytest.param(0.01, id="20 ms there and back", marks=pytest.mark.slow),
    ],
)
def test_two_hosts_train_to_the_bytes_of_one(project, whole, tmp_path, delay):
    other = project.copy(tmp_path / "other host")
    with hosts.two_hosts(delay) as pair:
        if delay:
            assert round_trip(pair) > 0.02
        for process in start(pair, (project, other)):
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output
    made = results(project)
    for path in ("models/model.safetensors", "plots/history.csv"):
        assert made[path] == whole[path]
    assert not (other.path / "models").exists()


def round_trip(pair):
    """Return the median seconds that a connection takes to be made."""
    a, b = pair
    listen = b.command(
        "python",
        "-c",
        "import socket; s = socket.create_server(('', 99))\n"
        "while True: s.accept()[0].close()",
    )
    connect = (
        "import socket, time\nfor _ in range(9):\n  t = time.monotonic()\n"
        f"  socket.create_connection(('{b.address}', 99)).close()\n"
        "  print(time.monotonic() - t)"
    )
    with subprocess.Popen(listen) as server:
        time.sleep(2)
        done = subprocess.run(
            a.command("python", "-c", connect), capture_output=True, text=True, check=True
        )
        server.kill()
    return statistics.median(map(float, done.stdout.split()))


@pytest.mark.long
def test_a_cut_link_ends_in_one_line_and_costs_no_byte(project, whole, tmp_path):
    """On both hosts training ends within TRAIN_TIMEOUT and the seconds of ending.

    torchrun itself hangs where it is cut off from the first host, as docs/scale.md says.
    """
    other = project.copy(tmp_path / "other host")
    with hosts.two_hosts(delay=0.01) as pair:
        first, second = start(pair, (project, other), TRAIN_TIMEOUT="5")
        (trainer,) = workers_of(second)
        wait_for_epoch(project, 1)
        pair[1].cut()
        cut = time.monotonic()
        output, _ = first.communicate(timeout=120)
        psutil.wait_procs([trainer], timeout=30)
        assert not trainer.is_running() or trainer.status() == psutil.STATUS_ZOMBIE
        assert time.monotonic() - cut < 60
        second.kill()
        second.communicate()
    assert first.returncode == 1
    lines = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert lines[0].startswith("error: another worker is gone, or does not answer; ")
    again = project.run("python", "stages/train.py", PYTHONPATH="src")
    assert RESUMING.search(again)
    assert results(project)["models/model.safetensors"] == whole["models/model.safetensors"]
