"""Training that dies goes on where it was: real processes, killed, under the real DVC."""

import os
import random
import re
import signal
import time

import pytest

from project import TINY, Project, create

PARAMS = TINY | {
    "data": {"name": "digits"},
    "train": TINY["train"] | {"epochs": 12, "batch_size": 8},
}
RESULTS = ("dvc.lock", "metrics", "models", "plots")
RESUMING = re.compile(r"^resuming from epoch (\d+), step (\d+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The project with its data prepared, and training yet to come; only to be copied."""
    project = create(tmp_path_factory.mktemp("resume") / "prepared", PARAMS)
    project.dvc("repro", "prepare", "describe")
    return project


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory):
    """The project after a training that nothing interrupted, and its ``seconds``."""
    project = prepared.copy(tmp_path_factory.mktemp("resume") / "finished")
    with started(project, "train") as run:
        wait_for_checkpoint(project)
        start = time.monotonic()
        output, _ = run.communicate()
        project.seconds = time.monotonic() - start
    assert run.returncode == 0, output
    assert not (project.path / "checkpoints").exists()
    return project


@pytest.fixture
def project(prepared, tmp_path):
    return prepared.copy(tmp_path / "project")


def started(project: Project, *targets: str, **env: str):
    return project.start("dvc", "repro", *targets, own_group=True, **env)


def checkpoints(project: Project) -> dict[str, float]:
    """Return when each checkpoint was written, by its path."""
    written = {}
    for path in (project.path / "checkpoints").glob("*/0*.safetensors"):
        try:
            written[str(path)] = path.stat().st_mtime_ns
        except FileNotFoundError:  # an older one, forgotten since
            continue
    return written


def wait_for_checkpoint(project: Project) -> None:
    """Wait until training is at work: a checkpoint appears."""
    before = checkpoints(project)
    deadline = time.monotonic() + 60
    while checkpoints(project) == before:
        assert time.monotonic() < deadline, "training did not begin"
        time.sleep(0.005)


def killed(project: Project, signum: int, after: float, *targets: str, kill=os.killpg):
    """Start training and kill it ``after`` seconds; return what it printed."""
    with started(project, *targets) as run:
        wait_for_checkpoint(project)
        time.sleep(after)
        assert run.poll() is None, "it ended before it was killed"
        kill(run.pid, signum)
        output, _ = run.communicate(timeout=60)
    assert run.returncode != 0
    assert "Traceback" not in output
    return output


def results(project: Project) -> dict[str, bytes]:
    """Return the bytes of each result, by its path."""
    found = {}
    for name in RESULTS:
        path = project.path / name
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_file() and not file.name.startswith("."):
                found[str(file.relative_to(project.path))] = file.read_bytes()
    return found


def position(output: str) -> tuple[int, int]:
    """Return the epoch and the step from which a run says that it resumes."""
    ((epoch, step),) = RESUMING.findall(output)
    return int(epoch), int(step)


@pytest.mark.parametrize(
    ("signum", "says"),
    [
        (signal.SIGKILL, None),
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "terminated"),
    ],
)
def test_a_killed_run_ends_with_the_bytes_of_one_that_was_not(
    project, finished, signum, says
):
    output = killed(project, signum, finished.seconds / 2, "train")
    lines = output.splitlines()
    ended = [line for line in lines if "; the next run resumes from epoch " in line]
    assert [line.partition(";")[0] for line in ended] == ([says] if says else [])

    output = project.dvc("repro", "train")
    assert position(output) > (1, 0)
    if says:  # it saved when it was asked to end
        assert ended[0].endswith("resumes from epoch {}, step {}".format(*position(output)))
    assert results(project) == results(finished)
    assert not (project.path / "checkpoints").exists()


def test_when_only_dvc_dies_training_saves_and_ends(project, finished):
    """No one would record what it makes, and the next `dvc repro` would meet it."""
    output = killed(project, signal.SIGKILL, finished.seconds / 2, "train", kill=os.kill)
    assert "terminated; the next run resumes from epoch " in output
    assert position(project.dvc("repro", "train")) > (1, 0)
    assert results(project) == results(finished)


def test_ctrl_c_is_one_line_and_status_130(project, finished):
    """Of the stage itself; DVC adds a line of its own."""
    with project.start(
        "python", "stages/train.py", own_group=True, PYTHONPATH="src"
    ) as run:
        wait_for_checkpoint(project)
        os.killpg(run.pid, signal.SIGINT)
        output, _ = run.communicate(timeout=60)
    assert run.returncode == 130
    assert re.fullmatch(
        r"interrupted; the next run resumes from epoch \d+, step \d+",
        output.splitlines()[-1],
    )


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(project, finished):
    killed(project, signal.SIGINT, finished.seconds / 2, "train")
    _, newest = sorted((project.path / "checkpoints").glob("*/0*.safetensors"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    newest.write_bytes(content)
    output = project.dvc("repro", "train")
    assert f"warning: passing over a checkpoint: checkpoints/{newest.parent.name}" in output
    assert "damaged: it does not match its own checksum" in output
    assert position(output) > (0, 0)
    assert results(project) == results(finished)


def test_without_a_whole_checkpoint_it_starts_afresh_and_says_so(project, finished):
    killed(project, signal.SIGINT, 0.2, "train")
    for path in checkpoints(project):
        os.truncate(path, 1000)
    output = project.dvc("repro", "train")
    assert output.count("warning: passing over a checkpoint") == 2
    assert "starting afresh: no checkpoint is whole" in output
    assert results(project) == results(finished)


def test_changed_params_start_afresh_say_so_and_the_way_back_resumes(project, finished):
    killed(project, signal.SIGINT, finished.seconds / 2, "train")
    lr = PARAMS["train"]["lr"]
    project.set_params({"train": {"lr": lr / 2, "epochs": 1}})
    output = project.dvc("repro", "train")
    assert "starting afresh: checkpoints/ is of other params" in output
    assert "resuming" not in output
    project.set_params({"train": PARAMS["train"]})
    assert position(project.dvc("repro", "train")) > (1, 0)
    assert (
        results(project)["models/model.safetensors"]
        == (results(finished)["models/model.safetensors"])
    )


def test_changed_code_and_data_start_afresh_and_say_so(project, finished):
    killed(project, signal.SIGINT, 0.2, "train")
    module = project.path / "src/mnist_lstm/training.py"
    module.write_text(module.read_text() + "\n# Another line.\n")
    project.set_params({"prepare": {"valid_size": 100}, "train": {"epochs": 1}})
    output = project.dvc("repro", "train")
    assert "starting afresh: checkpoints/ is of other params, data, code" in output


def test_of_two_at_once_each_ends_well_or_is_refused_by_dvc(project, finished):
    with started(project, "train") as first, started(project, "train") as second:
        outputs = [run.communicate(timeout=120)[0] for run in (first, second)]
    assert 0 in (first.returncode, second.returncode), outputs
    for run, output in zip((first, second), outputs, strict=True):
        assert "Traceback" not in output
        assert run.returncode == 0 or "is busy" in output or "lock" in output, output
    assert results(project) == results(finished)
    assert "up to date" in project.dvc("repro", "train")


def test_two_experiments_in_folders_of_their_own_both_end_well(project):
    project.set_params({"train": {"epochs": 1}})
    project.commit("A short training")
    before = results(project)
    runs = [
        project.start("dvc", "exp", "run", "--temp", "--name", name, "-S", f"train.lr={lr}")
        for name, lr in (("slow", 0.001), ("fast", 0.01))
    ]
    for run in runs:
        with run:
            output, _ = run.communicate(timeout=240)
            assert run.returncode == 0, output
    assert set(project.dvc("exp", "list", "--name-only").split()) == {"slow", "fast"}
    assert results(project) == before
    assert project.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_soak(project, prepared, finished, tmp_path):
    """20 runs of `dvc repro`, each killed at random moments of its training."""
    expected = finished.copy(tmp_path / "expected")
    expected.dvc("repro")
    seed = int(os.environ.get("SOAK_SEED", time.time()))
    chance = random.Random(seed)
    print(f"SOAK_SEED={seed}")
    deaths = [signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM]
    for i in range(20):
        copy = prepared.copy(tmp_path / str(i))
        said = []
        for _ in range(chance.choice((1, 1, 2))):
            signum = chance.choice(deaths)
            after = chance.uniform(0, finished.seconds * 0.45)
            output = killed(copy, signum, after)
            said.append(f"{signum.name} after {after:.2f} s")
            said += RESUMING.findall(output)
        output = copy.dvc("repro")
        print(f"{i + 1} of 20:", *said, position(output), flush=True)
        assert results(copy) == results(expected), said
        assert not (copy.path / "checkpoints").exists()
