"""`make repro`, where it fails, and where it has the genuine data."""

import os
import time
from pathlib import Path

import pytest

from project import DEFAULT, TINY, create, ran

THREADS = str(os.cpu_count())


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
    assert "train.lr must be a number > 0 and < 1e37, got -1" in output
    assert "params.yaml differs from the last commit" in output
    assert "digits" not in output


def test_only_mnist_falls_back_on_digits(mnist):
    mnist.set_params({"data": {"name": "kmnist"}})
    output = mnist.run("tools/repro", ok=False)
    assert "error: no mirror served train-images-idx3-ubyte.gz of kmnist:" in output
    assert "digits" not in output


def test_plain_repro_stays_strict_and_leaves_nothing_half_written(mnist):
    output = mnist.dvc("repro", "download", ok=False)
    assert "error: no mirror served" in output
    assert list((mnist.path / "data").iterdir()) == []
    assert "No mirror of MNIST answers" not in output


@pytest.mark.slow
def test_without_a_network_digits_take_at_most_two_minutes(tmp_path):
    project = create(tmp_path / "project", DEFAULT)
    start = time.monotonic()
    output = project.run("tools/repro", OMP_NUM_THREADS=THREADS)
    assert time.monotonic() - start < 120
    assert "821,770 parameters" in output


@pytest.mark.skipif(not os.environ.get("DATA_MIRROR"), reason="DATA_MIRROR is not set")
def test_on_genuine_mnist_one_epoch_is_right_92_times_in_100(tmp_path):
    project = create(tmp_path / "project", DEFAULT)
    project.set_params({"train": {"epochs": 1}})
    mirror = os.environ["DATA_MIRROR"]
    if "://" not in mirror:
        mirror = str(Path(mirror).resolve())
    output = project.run(
        "tools/repro", DATA_MIRROR=mirror, no_proxy="*", OMP_NUM_THREADS=THREADS
    )
    assert len(ran(output)) == 6
    assert "train: 60,000 images of [28, 28]" in output
    assert "821,770 parameters" in output
    history = project.table("plots/history.csv")
    assert history.heldout_accuracy[0] == pytest.approx(0.10, abs=0.05)
    assert history.heldout_accuracy[1] >= 0.92
