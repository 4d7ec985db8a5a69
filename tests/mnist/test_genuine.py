"""The pipeline on the genuine files of MNIST."""

import os
from pathlib import Path

import pytest

from defaults import DEFAULT
from sandbox import create, ran


@pytest.mark.long
@pytest.mark.skipif(not os.environ.get("DATA_MIRROR"), reason="DATA_MIRROR is not set")
def test_on_genuine_mnist_one_epoch_learns(tmp_path):
    project = create(tmp_path / "project", DEFAULT)
    project.set_params({"train": {"epochs": 1}, "model": {"hdim": 32}})
    mirror = os.environ["DATA_MIRROR"]
    if "://" not in mirror:
        mirror = str(Path(mirror).resolve())
    output = project.run(
        "tools/repro", DATA_MIRROR=mirror, no_proxy="*", OMP_NUM_THREADS=str(os.cpu_count())
    )
    assert len(ran(output)) == 7
    assert "train: 60,000 images of [28, 28]" in output
    history = project.table("plots/history.csv")
    assert history.heldout_accuracy[0] == pytest.approx(0.10, abs=0.05)
    assert history.heldout_accuracy[1] >= 0.7
