"""What tests of several workers share: a project of shards, and its processes."""

import time

import psutil
import pytest

from test_resume import results

TORCHRUN = ("python", "-m", "torch.distributed.run", "--local-addr=127.0.0.1")
SHARDED = {"train": {"shards": 4, "epochs": 12, "batch_size": 64, "precision": "fp32"}}


@pytest.fixture
def project(prepared, tmp_path):
    project = prepared.copy(tmp_path / "project")
    project.set_params(SHARDED)
    return project


@pytest.fixture(scope="session")
def whole(prepared, once):
    """The bytes of one worker that nothing disturbed."""

    def make(path):
        project = prepared.copy(path)
        project.set_params(SHARDED)
        project.dvc("repro", "train")

    return results(once("whole", make))


def train(project, workers=1, ok=True, **env):
    env = {"PYTHONPATH": "src", "TRAIN_WORKERS": str(workers)} | env
    return project.run("python", "stages/train.py", ok=ok, **env)


def assert_trained_as(project, whole):
    """Where DVC did not run: model and history have the bytes of ``whole``."""
    made = results(project)
    for path in ("models/model.safetensors", "plots/history.csv"):
        assert made[path] == whole[path]


def workers_of(process):
    """Return the processes that train, by rank, once all have begun."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found, count = {}, 0
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                env = child.environ()
            except psutil.Error:
                continue
            if "RANK" in env and "train.py" in " ".join(child.cmdline()):
                found[int(env["RANK"])] = child
                count = int(env.get("LOCAL_WORLD_SIZE", env["WORLD_SIZE"]))
        if found and len(found) == count:
            return [found[rank] for rank in sorted(found)]
        time.sleep(0.02)
    raise AssertionError("no workers")
