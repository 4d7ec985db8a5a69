"""Training that dies goes on where it was: real processes, killed, under the real DVC."""

import os
import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from sandbox import Sandbox

RESUMING = re.compile(r"^resuming from epoch (\d+), step (\d+)$", re.MULTILINE)


@pytest.fixture
def project(prepared, tmp_path):
    return prepared.copy(tmp_path / "project")


def started(project: Sandbox):
    return project.start("dvc", "repro", "train", own_group=True)


def wait_for_epoch(project: Sandbox, epoch: int) -> None:
    """Wait until training has ended ``epoch``: a row of the history appears."""
    history = project.path / "plots/history.csv"
    deadline = time.monotonic() + 120
    while not (history.exists() and f"\ntest,{epoch}," in history.read_text()):
        assert time.monotonic() < deadline, f"epoch {epoch} did not end"
        time.sleep(0.005)


def killed(project: Sandbox, signum: int, epoch: int, kill=os.killpg) -> str:
    """Start training, kill it after ``epoch``; return what it printed."""
    with started(project) as run:
        wait_for_epoch(project, epoch)
        kill(run.pid, signum)
        output, _ = run.communicate(timeout=60)
    assert run.returncode != 0, "it ended before it was killed"
    assert "Traceback" not in output
    return output


def results(project: Sandbox) -> dict[str, bytes]:
    """Return the bytes of each result, by its path."""
    files = [project.path / "dvc.lock"]
    for name in ("metrics", "models", "plots"):
        files += (project.path / name).rglob("[!.]*.*")
    return {str(file.relative_to(project.path)): file.read_bytes() for file in files}


def position(output: str) -> tuple[int, int]:
    """Return the epoch and the step from which a run says that it resumes."""
    ((epoch, step),) = RESUMING.findall(output)
    return int(epoch), int(step)


@pytest.mark.long
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_ends_with_the_bytes_of_one_that_was_not(project, finished, signum):
    ended = re.findall(
        r"^interrupted; the next run resumes from epoch (\d+), step (\d+)$",
        killed(project, signum, 5),
        re.MULTILINE,
    )
    at = position(project.dvc("repro", "train"))
    assert at > (0, 0)
    if signum == signal.SIGINT:  # it saved when it was asked to end
        assert [tuple(map(int, pair)) for pair in ended] == [at]
    assert results(project) == results(finished)


@pytest.mark.long
def test_when_only_dvc_dies_training_saves_and_ends(project, finished):
    """No one would record what it makes, and the next `dvc repro` would meet it."""
    output = killed(project, signal.SIGKILL, 5, kill=os.kill)
    assert "terminated; the next run resumes from epoch " in output
    assert position(project.dvc("repro", "train")) >= (6, 0)
    assert results(project) == results(finished)


@pytest.mark.long
@pytest.mark.parametrize(
    ("file", "old", "new", "workers"),
    [
        ("params.yaml", "lr: 0.01", "lr: 0.02", 1),
        ("src/mnist_lstm/models/lstm.py", "(", "( ", 2),
    ],
)
def test_what_is_edited_while_it_trains_is_not_recorded_for_the_old_result(
    project, file, old, new, workers
):
    """DVC would: it hashes a stage's dependencies and parameters once it has run."""
    project.set_params({"train": {"shards": workers, "epochs": 6}})
    lock, before = project.text("dvc.lock"), project.text(file)
    with project.start("dvc", "repro", "train", TRAIN_WORKERS=str(workers)) as run:
        wait_for_epoch(project, 1)
        (project.path / file).write_text(before.replace(old, new, 1))
        output, _ = run.communicate(timeout=120)
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    changed = "train.lr (0.01, now 0.02); " if workers == 1 else f"{file} ("
    assert line.startswith(f"error: changed while this ran: {changed}")
    assert project.text("dvc.lock") == lock
    model = project.path / "models/model.safetensors"
    trained = model.read_bytes()

    (project.path / file).write_text(before)
    output = project.dvc("repro", "train")
    assert position(output) == (7, 0)
    assert "\nepoch " not in output
    assert model.read_bytes() == trained


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc here")
@pytest.mark.parametrize("delay", [0, 0.2])
def test_when_dvc_dies_as_training_starts_nothing_is_trained(project, delay):
    with started(project) as dvc:
        children = Path(f"/proc/{dvc.pid}/task/{dvc.pid}/children")
        while not children.read_text():
            assert dvc.poll() is None
        time.sleep(delay)
        os.kill(dvc.pid, signal.SIGKILL)
        output, _ = dvc.communicate(timeout=60)  # once the orphan, too, has ended
    assert "terminated; " in output
    assert "\nepoch " not in output
    assert not (project.path / "models").exists()


@pytest.mark.long
def test_a_training_that_ended_and_was_not_recorded_is_not_trained_again(project, finished):
    """As after a kill, or on a full disk, while DVC records it."""
    project.run("python", "stages/train.py", PYTHONPATH="src")
    output = project.dvc("repro", "train")
    assert position(output) == (13, 0)
    assert "\nepoch " not in output
    assert results(project) == results(finished)
    (folder,) = (project.path / "checkpoints").iterdir()
    assert len(list(folder.glob("*.safetensors"))) == 1
    project.run("make", "clean")
    assert not (project.path / "checkpoints").exists()


@pytest.mark.long
def test_a_run_does_not_resume_under_other_arithmetic(project):
    """It would end with bytes that no run has."""
    project.set_params({"train": {"precision": "fp32"}})  # in bf16, MKL computes nothing
    killed(project, signal.SIGINT, 1)
    other = {"PYTHONPATH": "src", "MKL_CBWR": "COMPATIBLE"}
    output = project.run("python", "stages/train.py", **other)
    assert "changed since the last checkpoint: machine" in output


def test_ctrl_c_is_one_line_and_status_130(project):
    """And the line that DVC adds."""
    env = {"PYTHONUNBUFFERED": ""}  # as a user's shell has it
    with project.start("tools/repro", own_group=True, **env) as run:
        # told as it ends, not when all have: that may be hours later
        assert any(line.startswith("epoch   1 ") for line in run.stdout)
        assert "\ntest,12," not in project.text("plots/history.csv")
        os.killpg(run.pid, signal.SIGINT)
        output, _ = run.communicate(timeout=60)
    assert run.returncode == 130
    at = output.index("interrupted; the next run resumes from epoch ")
    _, *more = output[at:].splitlines()
    assert [line[:6] for line in more] == ["ERROR:"]


@pytest.mark.long
def test_what_changed_is_told_and_the_way_back_resumes(project, finished):
    killed(project, signal.SIGINT, 5)
    paths = [project.path / "params.yaml", project.path / "src/mnist_lstm/training/loop.py"]
    before = [path.read_text() for path in paths]
    paths[1].write_text(before[1] + "\n# Another line.\n")
    project.set_params({"prepare": {"valid_size": 100}, "train": {"epochs": 1}})
    output = project.dvc("repro", "train")
    told = "starting from scratch: changed since the last checkpoint: params, data, code"
    assert told in output
    assert "resuming" not in output
    for path, text in zip(paths, before, strict=True):
        path.write_text(text)
    assert position(project.dvc("repro", "train")) >= (6, 0)
    model = "models/model.safetensors"
    assert results(project)[model] == results(finished)[model]


@pytest.mark.long
def test_of_two_at_once_each_ends_well_or_is_refused_by_dvc(project, finished):
    with started(project) as first, started(project) as second:
        outputs = [run.communicate(timeout=120)[0] for run in (first, second)]
    assert 0 in (first.returncode, second.returncode), outputs
    for run, output in zip((first, second), outputs, strict=True):
        assert "Traceback" not in output
        refused = r"is busy, it is being blocked by|Unable to acquire lock|at work there"
        assert run.returncode == 0 or re.search(refused, output), output
    assert results(project) == results(finished)
    assert "up to date" in project.dvc("repro", "train")


@pytest.mark.slow
def test_soak(prepared, tmp_path):
    """60 kills of `dvc repro`, DVC included, at random moments, three to a chain."""
    begun = prepared.copy(tmp_path / "begun")
    # epochs so long that there are checkpoints within them, too
    begun.set_params({"train": {"epochs": 6, "batch_size": 1}})
    expected = begun.copy(tmp_path / "expected")
    start = time.monotonic()
    expected.dvc("repro")
    whole = time.monotonic() - start
    seed = int(os.environ.get("SOAK_SEED", time.time()))
    chance = random.Random(seed)
    print(f"SOAK_SEED={seed}, {whole:.0f} s undisturbed")
    resumed = 0
    for chain in range(1, 21):
        copy = begun.copy(tmp_path / str(chain))
        output = ""
        for _ in range(3):
            with copy.start("tools/repro", own_group=True) as run:
                time.sleep(chance.uniform(0, whole))
                if run.poll() is None:
                    signums = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
                    os.killpg(run.pid, chance.choice(signums))
                output += run.communicate(timeout=60)[0]
        output += copy.run("tools/repro")
        assert results(copy) == results(expected)
        assert "up to date" in copy.dvc("repro")
        shutil.rmtree(copy.path)
        resumed += len(RESUMING.findall(output))
        print(f"{3 * chain} of 60: resumed {resumed} times, the same bytes", flush=True)
    assert resumed > 0
