"""The pipeline on the genuine files of MNIST."""

import os
from pathlib import Path

import pytest

from defaults import DEFAULT
from sandbox import create, ran

THREADS = str(os.cpu_count())


@pytest.mark.skipif(not os.environ.get("DATA_MIRROR"), reason="DATA_MIRROR is not set")
@pytest.mark.parametrize(
    ("hdim", "parameters", "accuracy"),
    [
        pytest.param(32, "16,714", 0.7, marks=pytest.mark.long),
        pytest.param(256, "821,770", 0.92, marks=pytest.mark.slow),  # three minutes
    ],
)
def test_on_genuine_mnist_one_epoch_learns(tmp_path, hdim, parameters, accuracy):
    project = create(tmp_path / "project", DEFAULT)
    project.set_params({"train": {"epochs": 1}, "model": {"hdim": hdim}})
    mirror = os.environ["DATA_MIRROR"]
    if "://" not in mirror:
        mirror = str(Path(mirror).resolve())
    output = project.run(
        "tools/repro", DATA_MIRROR=mirror, no_proxy="*", OMP_NUM_THREADS=THREADS
    )
    assert len(ran(output)) == 7
    assert "train: 60,000 images of [28, 28]" in output
    assert f"{parameters} parameters" in output
    history = project.table("plots/history.csv")
    assert history.heldout_accuracy[0] == pytest.approx(0.10, abs=0.05)
    assert history.heldout_accuracy[1] >= accuracy
