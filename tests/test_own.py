"""One's own images through the real pipeline: what DVC runs when they change."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from defaults import TINY
from sandbox import create, ran

OWN = TINY | {
    "data": {"name": "own"},
    "prepare": TINY["prepare"] | {"picture": "scale", "height": 12, "width": 5},
    "model": TINY["model"] | {"xdim": 5, "ydim": 2, "hdim": 8},
    "train": TINY["train"] | {"batch_size": 8, "epochs": 1},
}
# An experiment in a folder of its own, which ends before it trains.
TEMP = ("exp", "run", "--temp", "prepare", "-S", "prepare.valid_size=2")
# One that a table could take for a missing value, one that a figure could not draw.
NAMES = ["NA", "お, $x$"]


def draw(seed, size=(10, 24)):
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, size[::-1], np.uint8))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The project after `dvc repro` on 20 train and 6 test images of two classes."""
    sandbox = create(tmp_path_factory.mktemp("own") / "project", OWN)
    for i, name in enumerate(NAMES):
        for part, n in (("train", 10), ("test", 3)):
            folder = sandbox.path / "own" / part / name
            folder.mkdir(parents=True)
            for j in range(n):
                draw((i, len(part), j)).save(folder / f"{j}.png")
    sandbox.output = sandbox.dvc("repro")
    sandbox.git("add", "dvc.lock", "metrics", "plots")
    sandbox.git("commit", "--quiet", "--message", "Own images, tracked by nobody yet")
    return sandbox


@pytest.fixture
def own(run, tmp_path):
    return run.copy(tmp_path / "own")


def test_own_images_go_all_the_way_under_their_names(run):
    assert ran(run.output)[:2] == ["download", "prepare"]
    for line in (
        "to be read with model.xdim 5 and model.ydim 2",
        "train: 20 images of [12, 5]",
        "test: 6 images of [12, 5]",
    ):
        assert line in run.output.splitlines()
    assert "WARNING" not in run.output
    for file in ("data/predictions.csv", "plots/confusion.csv"):
        lines = run.text(file).splitlines()[1:]
        assert [line.startswith("NA,") for line in lines] == [True] * 3 + [False] * 3
        assert all(line.startswith('"お, $x$",') for line in lines[3:])
    table = run.text("plots/accuracy_by_class.csv").splitlines()
    assert [row.rpartition(",")[0].rpartition(",")[0] for row in table[1:]] == [
        "NA",
        '"お, $x$"',
    ]
    assert len(list(run.path.glob("plots/*.png"))) == 5
    page = run.dvc("plots", "show")
    assert "WARNING" not in page


def test_what_changes_no_image_trains_nothing(own):
    (own.path / "own/README.md").write_text("Mine.")
    (own.path / "own/train/NA/.DS_Store").write_text("?")
    assert "up to date" in own.dvc("status")
    (own.path / "own/train/notes.txt").write_text("?")
    output = own.dvc("repro")
    assert ran(output) == ["prepare"]
    assert (
        "own/train: no images by their names, left out (1): own/train/notes.txt" in output
    )
    first = own.path / "own/train/NA/0.png"
    first.rename(first.with_name("00.png"))
    assert ran(own.dvc("repro")) == ["prepare"]


def test_an_image_more_is_trained_on_and_without_it_nothing_runs(own):
    more = own.path / "own/train/NA/more.png"
    draw(77).save(more)
    output = own.dvc("repro", "prepare")
    assert ran(output) == ["prepare"]
    assert "train: 21 images" in output
    assert json.loads(own.dvc("status", "--json")).keys() == {"train", "evaluate"}
    more.unlink()
    assert ran(own.dvc("repro")) == []
    draw(78).save(own.path / "own/test/NA/0.png")
    assert ran(own.dvc("repro", "prepare")) == ["prepare"]
    # Training watches the test images: its history changes with them.
    assert json.loads(own.dvc("status", "--json")).keys() == {"train", "evaluate", "plot"}


def test_a_fault_is_told_and_what_was_made_before_is_restored(own):
    path = own.path / "own/train/NA/0.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    shutil.copy(own.path / "own/train/NA/1.png", own.path / "own/test/NA/leak.png")
    output = own.dvc("repro", ok=False)
    lines = [line for line in output.splitlines() if "own/t" in line]
    assert len(lines) == 2
    assert lines[0].startswith("error: own/train/NA/0.png: damaged")
    assert lines[1].startswith("own/test/NA/leak.png: the same picture as own/train/NA/1.")
    assert "Traceback" not in output
    path.write_bytes(whole)
    (own.path / "own/test/NA/leak.png").unlink()
    assert ran(own.dvc("repro")) == []


def test_a_model_that_does_not_fit_is_told_all_at_once(own):
    own.set_params({"model": {"xdim": 28, "ydim": 10}})
    output = own.run("python", "stages/train.py", ok=False, PYTHONPATH="src")
    of = "in data/prepared/train.safetensors"
    assert (
        f"params.yaml: model.xdim must be 5, the width of the images {of}, got 28" in output
    )
    assert (
        f"params.yaml: model.ydim must be 2, the number of classes {of}, got 10" in output
    )


def test_images_that_dvc_tracks_are_pulled_and_seen_in_a_folder_of_their_own(own, tmp_path):
    output = own.dvc(*TEMP, ok=False)  # only Git's files are there
    assert "error: own/train: no images; each class is a folder of them" in output
    own.dvc("add", "own/train", "own/test")
    output = own.dvc("repro")  # what DVC keeps of them lies beside them
    assert ran(output) == ["prepare"]
    own.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    own.commit("Images tracked by DVC")
    assert own.git("ls-files", "own").split() == [
        "own/.gitignore",
        "own/README.md",
        "own/test.dvc",
        "own/train.dvc",
    ]
    own.dvc("push")
    output = own.dvc(*TEMP)
    assert ran(output) == ["prepare"]
    assert "train: 18 images" in output
    clone = own.clone(tmp_path / "clone")
    clone.dvc("pull")
    assert "up to date" in clone.dvc("repro")
    draw(79).save(clone.path / "own/train/NA/more.png")
    assert ran(clone.dvc("repro", "prepare")) == ["prepare"]
    assert clone.git("status", "--porcelain", "own") == "M  own/train.dvc\n"


def test_images_in_git_are_seen_by_an_experiment_in_a_folder_of_its_own(own):
    own.commit("Images tracked by Git")
    output = own.dvc(*TEMP)
    assert ran(output) == ["prepare"]
    assert "train: 18 images" in output


def test_own_images_train_no_other_data_set(built, own, tmp_path):
    """They are a dependency of `prepare` whatever data.name is, and change nothing."""
    digits = built.copy(tmp_path / "digits")
    shutil.copytree(own.path / "own/train", digits.path / "own/train")
    assert ran(digits.dvc("repro")) == ["prepare"]
    shutil.rmtree(digits.path / "own/train")
    assert ran(digits.dvc("repro")) == []
    assert digits.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_a_thousand_classes_go_all_the_way(tmp_path):
    params = OWN | {"model": OWN["model"] | {"ydim": 1000}}
    sandbox = create(tmp_path / "project", params)
    for i in range(1000):
        folder = sandbox.path / "own/train" / f"n{i:08d} of a thousand"
        folder.mkdir(parents=True)
        for j in range(3):
            draw((i, j), (5, 12)).save(folder / f"{j}.png")
    output = sandbox.dvc("repro")
    assert "own/test: no images; 20% of each class in own/train are it" in output
    assert "test: 1,000 images of [12, 5]" in output
    assert "Warning" not in output
    assert len(sandbox.table("plots/accuracy_by_class.csv")) == 1000
    assert len(list(sandbox.path.glob("plots/*.png"))) == 5
