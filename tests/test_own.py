"""One's own images through the real pipeline: what DVC runs when they change."""

import re
import textwrap

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from defaults import TINY
from sandbox import ROOT, create, ran

WORDS = "zero one two three four five six seven eight nine"
# An experiment in a folder of its own, which ends before it trains.
TEMP = ("exp", "run", "--temp", "prepare", "-S", "prepare.valid_size=20")
SCALED = TINY | {
    "data": {"name": "own"},
    "prepare": TINY["prepare"] | {"picture": "scale", "height": 12, "width": 5},
    "model": TINY["model"] | {"xdim": 5, "ydim": 2, "hdim": 8},
}


def draw(seed):
    """Return a picture like no other."""
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (24, 10), np.uint8))


def write(folder, n):
    """Write ``n`` pictures into ``folder``, the folder of a class."""
    folder.mkdir(parents=True)
    for i in range(n):
        draw([*str(folder).encode(), i]).save(folder / f"{i}.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The example of docs/your-own.md as it stands, but for a small model; committed."""
    sandbox = create(tmp_path_factory.mktemp("own") / "project", TINY)
    page = sandbox.text("docs/your-own.md").partition("<!-- own -->\n")[2]
    block = re.match(r" *```bash\n(.*?) *```\n", page, re.DOTALL)[1]
    sandbox.output = sandbox.run("bash", "-ec", textwrap.dedent(block), PYTHONPATH="src")
    sandbox.commit("Own images, tracked by DVC")
    return sandbox


@pytest.mark.long
def test_the_example_trains_on_own_images_under_their_names(run):
    assert "to be read with model.xdim 8 and model.ydim 10\n" in run.output
    assert "train: 1,438 images of [8, 8]\ntest: 359 images of [8, 8]\n" in run.output
    table = run.table("data/predictions.csv")
    assert set(table.actual) == set(table.predicted) == set(WORDS.split())
    assert (table.actual == table.predicted).mean() > 0.7
    by_class = run.table("plots/accuracy_by_class.csv")
    assert by_class["class"].tolist() == sorted(WORDS.split())
    assert "own/train/seven/7.png: seven  " in run.output
    assert "is empty" not in run.output


@pytest.mark.long
def test_what_changes_no_image_trains_nothing(run, tmp_path):
    own = run.copy(tmp_path / "own")
    (own.path / "own/README.md").write_text("Mine.")
    (own.path / "own/train/zero/.DS_Store").write_text("?")
    assert "up to date" in own.dvc("status")
    (own.path / "own/train/notes.txt").write_text("?")
    first = own.path / "own/train/zero/0.png"
    first.rename(first.with_name("00.png"))
    output = own.dvc("repro")
    assert ran(output) == ["prepare"]
    assert "own: no images by their names, left out (1): own/train/notes.txt" in output
    draw(77).save(first)
    assert "train" in ran(own.dvc("repro", "train"))


@pytest.fixture
def tall(tmp_path):
    """The project with 15 images of each of two classes, which nobody tracks yet."""
    sandbox = create(tmp_path / "project", SCALED)
    for name in ("a", "b"):
        write(sandbox.path / "own/train" / name, 15)
    return sandbox


@pytest.mark.long
def test_a_name_that_dvc_cannot_read_is_named_by_make_repro(tall):
    """As of a ZIP from Windows: DVC's own line names no file."""
    (tall.path / "own/train/a/0.png").rename(tall.path / "own/train/a/caf\udce9.png")
    output = tall.run("tools/repro", ok=False)
    line = "error: own/train/a/caf\\udce9.png: DVC reads names in UTF-8 alone; rename it"
    assert line in output


@pytest.mark.long
def test_what_dvc_tracks_is_pulled_and_seen_in_a_folder_of_its_own(tall, tmp_path):
    tall.git("add", "--all")
    assert tall.git("status", "--porcelain") == ""  # Git holds no data
    tall.dvc("add", "own/train")
    tall.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    tall.commit("Images tracked by DVC")
    assert "valid: 20 images of [12, 5]" in tall.dvc(*TEMP)
    (tall.path / "own/train/a/0.png").unlink()  # what lies here is not what is tracked
    lines = (  # as `make seeds` does for each of its runs
        "from trees import extract; from seeds import take_along; from pathlib import Path",
        f"folder = Path({str(tmp_path / 'run')!r})",
        "extract('HEAD', folder); take_along(folder)",
    )
    tall.run("python", "-c", "\n".join(lines), PYTHONPATH="tools:src")
    assert len(list(tmp_path.glob("run/own/train/a/*.png"))) == 15
    tall.dvc("push", "own/train.dvc")
    clone = tall.clone(tmp_path / "clone")
    clone.dvc("pull", "own/train.dvc")
    assert "train: 24 images of [12, 5]" in clone.dvc("repro", "prepare")


@pytest.mark.slow
@pytest.mark.parametrize("n_class", [2, 1000])
def test_two_or_a_thousand_classes_of_tall_images_go_all_the_way(tmp_path, n_class):
    params = SCALED | {"model": SCALED["model"] | {"ydim": n_class}}
    sandbox = create(tmp_path / "project", params)
    # One that a table could take for a gap, one that no figure can spell.
    odd = ["NA", "お,\u200d $x$\u00a0"]
    names = [*odd, *(f"n{i:08d} of a thousand" for i in range(n_class - 2))]
    for name in names:
        write(sandbox.path / "own/train" / name, 3)
        write(sandbox.path / "own/test" / name, 1)
    output = sandbox.dvc("repro")
    assert f"test: {n_class:,} images of [12, 5]" in output.splitlines()
    assert "Warning" not in output
    for file in ("data/predictions.csv", "plots/confusion.csv"):
        table = pd.read_csv(sandbox.path / file, dtype=str, keep_default_na=False)
        assert sorted(table.actual) == sorted(names)
    figures = {path.name for path in sandbox.path.glob("plots/*.png")}
    assert figures == {path.name for path in ROOT.glob("plots/*.png")}
