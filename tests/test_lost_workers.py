"""Training on several processes of which one dies, or all: no byte is lost."""

import os
import random
import signal
import time

import psutil
import pytest

from sharded import TORCHRUN, assert_trained_as, project, whole, workers_of
from test_resume import RESUMING, results, wait_for_epoch


def end_one(project, end):
    """Train on two workers, end a process in the way ``end``; return what was printed."""
    env = {"PYTHONPATH": "src", "TRAIN_WORKERS": "2"}
    with project.start("python", "stages/train.py", own_group=True, **env) as process:
        trainers = workers_of(process)
        wait_for_epoch(project, 2)
        end(process, trainers)
        output, _ = process.communicate(timeout=120)
    _, alive = psutil.wait_procs(trainers, timeout=20)
    assert not alive
    assert process.returncode != 0
    assert "Traceback" not in output
    return output


@pytest.mark.long
@pytest.mark.parametrize(
    ("end", "after", "says"),
    [
        (
            lambda _, trainers: trainers[1].kill(),
            *(1, "error: worker 1 was ended by SIGKILL"),
        ),
        (
            lambda process, _: process.send_signal(signal.SIGINT),
            *(4, "interrupted; the next run resumes"),
        ),
    ],
    ids=["a worker", "Ctrl-C"],
)
def test_who_dies_costs_no_byte_on_another_number_of_workers(
    project, whole, end, after, says
):
    output = end_one(project, end)
    assert says in output
    output = project.run("dvc", "repro", "train", TRAIN_WORKERS=str(after))
    assert RESUMING.search(output)
    assert results(project) == whole


@pytest.mark.long
def test_torchrun_starts_again_by_itself_what_a_dead_worker_ended(project, whole):
    """With a store of its own for each start, or workers find the ports of the dead."""
    options = ("--standalone", "--nproc-per-node=2", "--max-restarts=1")
    env = {"PYTHONPATH": "src", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    command = (*TORCHRUN, *options, "stages/train.py")
    with project.start(*command, own_group=True, **env) as process:
        trainers = workers_of(process)
        wait_for_epoch(project, 2)
        trainers[1].kill()
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert RESUMING.search(output)
    assert_trained_as(project, whole)


@pytest.mark.long
def test_when_dvc_dies_its_workers_save_and_end(project, whole):
    with project.start("dvc", "repro", "train", own_group=True, TRAIN_WORKERS="2") as dvc:
        trainers = workers_of(dvc)
        wait_for_epoch(project, 2)
        os.kill(dvc.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(trainers, timeout=30)
        output, _ = dvc.communicate(timeout=30)
    assert not alive
    assert "terminated; the next run resumes from epoch " in output
    assert RESUMING.search(project.dvc("repro", "train"))
    assert results(project) == whole


@pytest.mark.slow
def test_a_worker_that_hangs_ends_the_run_in_one_line(project, whole, monkeypatch):
    monkeypatch.setenv("TRAIN_TIMEOUT", "5")
    start = time.monotonic()
    output = end_one(project, lambda _, trainers: trainers[1].suspend())
    assert "error: another worker is gone, or does not answer; run the same again" in output
    assert time.monotonic() - start < 90  # the timeout, and 30 s until torchrun kills
    assert RESUMING.search(project.dvc("repro", "train"))
    assert results(project) == whole


def trains(process):
    """Say whether a process trains; one that has just ended does not."""
    try:
        return "stages/train.py" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_soak_of_workers_that_die(project, whole):
    """20 kills of random processes at random moments, over 1, 2 and 4 workers."""
    seed = int(os.environ.get("SOAK_SEED", random.randrange(10**6)))
    print(f"\nSOAK_SEED={seed}")
    chance = random.Random(seed)
    untrained = (project.path / "dvc.lock").read_bytes()
    kills = 0
    while kills < 20:
        # with DVC's memory of runs, or the second chain would find its run there
        gone = ("checkpoints", "models", "plots/history.csv", ".dvc/cache/runs")
        project.run("rm", "-rf", *gone)
        (project.path / "dvc.lock").write_bytes(untrained)
        for _ in range(chance.randint(1, 4)):
            env = {"TRAIN_WORKERS": str(chance.choice([1, 2, 4]))}
            with project.start("dvc", "repro", "train", own_group=True, **env) as dvc:
                time.sleep(chance.uniform(2, 12))
                family = psutil.Process(dvc.pid).children(recursive=True)
                if trainers := [*filter(trains, family)]:
                    chance.choice(trainers).kill()
                    kills += 1
                output, _ = dvc.communicate(timeout=120)
            assert "Traceback" not in output
        project.dvc("repro", "train")
        assert results(project) == whole
        print(f"{kills} kills", flush=True)
