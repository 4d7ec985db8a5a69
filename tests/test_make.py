"""`make repro`, where it fails, and where it has the genuine data."""

import os
from pathlib import Path

import pytest

from project import DEFAULT, TINY, create, ran


@pytest.fixture
def mnist(tmp_path):
    """The project as it is, on MNIST, with a tiny model."""
    return create(tmp_path / "project", TINY)


def test_the_environment_is_made_once_and_again_when_requirements_change(mnist):
    plan = ["make", "--dry-run", "repro"]
    assert "pip install" in mnist.run(*plan)
    (mnist.path / ".venv").mkdir()
    (mnist.path / ".venv/installed").touch()
    assert mnist.run(*plan) == "tools/repro\n"
    os.utime(mnist.path / ".venv/installed", (0, 0))  # older than requirements.txt
    assert "pip install" in mnist.run(*plan)


def test_any_other_failure_is_a_failure(mnist):
    mnist.set_params({"train": {"lr": -1}})
    output = mnist.run("tools/repro", ok=False)
    assert "train.lr must be a number > 0, got -1" in output
    assert "digits" not in output


def test_plain_repro_stays_strict_and_leaves_nothing_half_written(mnist):
    output = mnist.dvc("repro", "download", ok=False)
    assert "error: no mirror served" in output
    assert list((mnist.path / "data").iterdir()) == []
    assert "No mirror of MNIST answers" not in output


@pytest.mark.skipif("DATA_MIRROR" not in os.environ, reason="DATA_MIRROR is not set")
def test_on_genuine_mnist_one_epoch_is_right_92_times_in_100(tmp_path):
    project = create(tmp_path / "project", DEFAULT)
    project.set_params({"train": {"epochs": 1}})
    mirror = str(Path(os.environ["DATA_MIRROR"]).resolve())
    threads = str(len(os.sched_getaffinity(0)))
    output = project.run("tools/repro", DATA_MIRROR=mirror, OMP_NUM_THREADS=threads)
    assert len(ran(output)) == 6
    assert "train: 60,000 images of [28, 28]" in output
    assert "821,770 parameters" in output
    history = project.table("plots/history.csv")
    assert history.heldout_accuracy[0] == pytest.approx(0.10, abs=0.05)
    assert history.heldout_accuracy[1] >= 0.92
