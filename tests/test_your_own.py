"""docs/your-own.md on one screen: each step as it stands there, run for real."""

import json
import re
from base64 import b64decode

import numpy as np
import onnxruntime
import pytest

from own_data import write_images, write_windows
from sandbox import ran
from webpage import data_of, exported

MINE = "src/mnist_lstm/models/mine.py"


def step(project, mark, changes=""):
    """Run the commands under a mark; return what they printed."""
    page = project.text("docs/your-own.md").partition(f"<!-- {mark} -->\n```bash\n")[2]
    text = page.partition("\n```\n")[0] + changes
    for place, write in (("images", write_images), ("windows", write_windows)):
        if (name := f"YOUR-{place.upper()}") in text:
            write(project.path.parent / place)
            text = text.replace(name, str(project.path.parent / place))
    return project.run("bash", "-ec", text)


def accuracy(project):
    return json.loads(project.text("metrics/evaluate.json"))["test"]["accuracy"]


@pytest.fixture(scope="module")
def images(built, tmp_path_factory):
    """The project after the steps for images and for a model."""
    project = built.copy(tmp_path_factory.mktemp("images") / "project")
    said = step(project, "images", " -S train.batch_size=8 -S train.epochs=8")
    assert "train: 32 images of [12, 9]" in said
    assert accuracy(project) > 0.9
    page = project.text("docs/your-own.md").partition("## Your own model")[2]
    model = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    (project.path / MINE).write_text(model)
    project.output = step(project, "model")
    return project


@pytest.mark.long
def test_a_model_of_ones_own_is_a_file_that_all_stages_take(images):
    assert ran(images.output) == ["describe", "train", "evaluate", "plot", "export"]
    changed = images.git("status", "--porcelain", "src", "stages", "page", "dvc.yaml")
    assert changed == f"?? {MINE}\n"
    assert accuracy(images) > 0.9
    assert (images.path / "plots/gates.png").stat().st_size < 20_000  # a line of text
    assert "read row by row by a convolution" in images.text("models/README.md")
    example = data_of(exported(images))["examples"][0]
    greys = np.frombuffer(b64decode(example["pixels"]), np.uint8)
    session = onnxruntime.InferenceSession(images.path / "models/model.onnx")
    x = greys.reshape(1, 12, 9).astype(np.float32) / 255
    logits = session.run(["logits"], {"x": x})[0][0]
    p = np.exp(logits - logits.max())
    np.testing.assert_allclose(p / p.sum(), example["beliefs"][-1], atol=2e-4)


@pytest.mark.long
def test_the_page_shows_how_it_read_as_it_was_embedded(images, show):
    tab = show(exported(images))
    assert tab.title() == "Watch a convolution read it"
    assert tab.locator("#undo").is_hidden()
    tab.evaluate("app.pick(app.data.examples[0])")
    shown = tab.evaluate("app.reading.beliefs.at(-1)")
    assert shown == data_of(exported(images))["examples"][0]["beliefs"][-1]


@pytest.mark.long
def test_sequences_are_csvs_and_become_the_default(copy):
    said = step(copy, "sequences", " -S train.batch_size=8 -S train.epochs=8")
    assert "train: 72 sequences" in said
    assert accuracy(copy) > 0.8
    assert "name: own" in copy.text("params.yaml")
    copy.commit("Ours")
    assert copy.git("status", "--porcelain") == ""
    assert "up to date" in copy.dvc("status")


def test_a_file_of_another_model_reruns_nothing_and_its_own_what_reads_it(copy):
    for name in ("gru", "mine", "lstm"):
        with (copy.path / f"src/mnist_lstm/models/{name}.py").open("a") as file:
            file.write("# another word\n")
        if name == "mine":
            assert "up to date" in copy.dvc("status")
    stale = json.loads(copy.dvc("status", "--json"))
    assert list(stale) == ["describe", "train", "evaluate", "plot", "export"]
