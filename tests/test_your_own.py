"""docs/your-own.md on one screen: each step as it stands there, run for real."""

import json
import re

import pytest

from own_data import write_images, write_windows

pytestmark = pytest.mark.long


@pytest.fixture
def step(copy, tmp_path):
    """Return a function that runs the commands under a mark; what they printed."""
    write_images(tmp_path / "images")
    write_windows(tmp_path / "windows")
    copy.set_up()

    def step(mark, changes=""):
        page = copy.text("docs/your-own.md").partition(f"<!-- {mark} -->\n```bash\n")[2]
        text = page.partition("\n```\n")[0] + changes
        for place in ("images", "windows"):
            text = text.replace(f"YOUR-{place.upper()}", str(tmp_path / place))
        return copy.run("bash", "-ec", text)

    return step


def accuracy(project):
    return json.loads(project.text("metrics/evaluate.json"))["test"]["accuracy"]


def test_images_are_a_folder_a_class_and_become_the_default(copy, step):
    said = step("images", " -S train.batch_size=8 -S train.epochs=8")
    assert "train: 32 images of [12, 9]" in said
    assert accuracy(copy) > 0.9
    assert "name: own" in copy.text("params.yaml")


def test_sequences_are_csvs_and_a_model_of_ones_own_is_a_file(copy, step):
    said = step("sequences", " -S train.batch_size=8 -S train.epochs=8")
    assert re.search(r"train: 72 sequences", said)
    assert accuracy(copy) > 0.8
    assert "Running stage 'train'" in step("model")
    assert "name: ours" in copy.text("params.yaml")
    assert accuracy(copy) > 0.8
    copy.run("bash", "-ec", 'git add . && git commit --quiet --message "Ours"')
    assert copy.git("status", "--porcelain") == ""
    assert "up to date" in copy.dvc("status")
