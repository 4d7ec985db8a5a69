"""What the model that lies here makes of pictures: the default one, trained on MNIST.

It takes minutes, and is skipped where no such model lies.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from defaults import DEFAULT
from mnist_lstm.data.picture import prepare
from mnist_lstm.data.splits import load_split, to_input
from mnist_lstm.models.store import load_model
from mnist_lstm.plumbing.params import ModelParams, check_params, load_params
from mnist_lstm.runs import override, read_recipe
from pictures import photographed
from strokes import DIGITS, drawings
from webpage import assert_reads_alike, write_page

MODEL = Path("models/model.safetensors")
TEST = Path("data/prepared/test.safetensors")


pytestmark = pytest.mark.slow


def trained(*overrides):
    """Return the model that lies here, if the working tree has these parameters."""
    params = override(check_params(DEFAULT, ""), list(overrides))
    if not (MODEL.exists() and TEST.exists() and load_params() == params):
        pytest.skip("no such model here; make repro trains the default one")
    return load_model(MODEL, params.model)


@pytest.fixture(scope="module")
def model():
    return trained()


@pytest.fixture(scope="module")
def split(model):
    return load_split(TEST, ModelParams(**DEFAULT["model"]))


def report(name, text):
    print(f"\n{name}: {text}")


def page_of(model, folder):
    """Return the path of a page of ``model`` alone."""
    zeros = dict.fromkeys(("accuracy", "n_test", "n_wrong", "parameters"), 0)
    shape = {"height": 28, "width": 28, "picture": "mnist", "dark": True}
    images = {"classes": list("0123456789"), "examples": [], "mistakes": []}
    return write_page(folder, zeros | shape | images, model)


def test_the_page_has_pytorchs_class_for_all_test_images(show, model, split, tmp_path):
    tab = show(page_of(model, tmp_path))
    for first in range(0, len(split), 500):
        assert_reads_alike(tab, model, split.x[first : first + 500])


DRAW = """(strokes) => {
    app.paper.clear();
    app.paper.strokes = strokes.map((points) => points.map(([x, y]) => ({ x, y })));
    app.paper.changed(true);
    return document.getElementById("glyph").textContent;
}"""


@pytest.mark.parametrize(("recipe", "least"), [("", 133), ("pictures", 140)])
def test_of_146_drawings_the_page_reads_most(show, tmp_path, recipe, least):
    model = trained(*(read_recipe(recipe) if recipe else ()))
    tab = show(page_of(model, tmp_path))
    wrong, drawn = [], list(drawings())
    for form, digit, strokes in drawn:
        # As a mouse reports them: more points than corners.
        lines = [np.repeat(s, 2, axis=0)[:-1] for s in strokes]
        for line, stroke in zip(lines, strokes, strict=True):
            line[1::2] = (stroke[:-1] + stroke[1:]) / 2
        found = tab.evaluate(DRAW, [line.tolist() for line in lines])
        wrong += [f"{form} {digit} as {found}"] if found != str(digit) else []
    right = len(drawn) - len(wrong)
    report("drawn and read", f"{right} of {len(drawn)}; not {', '.join(wrong)}")
    assert len(drawn) == 146
    assert right >= least


@torch.inference_mode()
@pytest.mark.parametrize("pen", [4, 10, 22])
def test_photographed_digits_are_recognised(model, pen):
    images = [prepare(photographed(digit, seed=digit, pen=pen)) for digit in DIGITS]
    x = to_input(torch.from_numpy(np.stack(images)))
    read = dict(zip(DIGITS, model(x).argmax(1).tolist(), strict=True))
    report(f"photographed with a pen of {pen} and read", json.dumps(read))
    assert sum(digit == found for digit, found in read.items()) >= 8
