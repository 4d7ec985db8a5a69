"""What the model that lies here makes of pictures: the default one, trained on MNIST.

It takes minutes, and is skipped where no such model lies.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops, ImageOps

from defaults import DEFAULT
from mnist_lstm.data.picture import prepare
from mnist_lstm.data.splits import load_split, to_input
from mnist_lstm.evaluation import compute_logits
from mnist_lstm.export import page
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


def enlarged(image, generator):
    """Return an image as a picture: 280x280, dark on light, shifted, turned by 5°."""
    picture = Image.fromarray(image.numpy()).resize((280, 280), Image.Resampling.BICUBIC)
    picture = picture.rotate(generator.choice([-5, 5]), Image.Resampling.BICUBIC)
    # At most so far that nothing leaves the picture.
    left, top, right, bottom = picture.point(lambda grey: 255 * (grey > 8)).getbbox()
    x = generator.integers(-min(left, 30), min(280 - right, 30) + 1)
    y = generator.integers(-min(top, 30), min(280 - bottom, 30) + 1)
    return ImageOps.invert(ImageChops.offset(picture, int(x), int(y)))


def test_enlarged_inverted_shifted_and_turned_test_images_keep_96_percent(model, split):
    generator = np.random.default_rng(0)
    pictures = (enlarged(image, generator) for image in split.x)
    images = torch.stack([torch.from_numpy(prepare(picture)) for picture in pictures])
    logits = compute_logits(model, dataclasses.replace(split, x=images))
    accuracy = (logits.argmax(1) == split.labels).double().mean().item()
    report("test images as pictures", f"{accuracy:.2%}")
    assert accuracy >= 0.96


def test_the_bound_of_float16_is_derived_and_holds(model, split):
    expected = compute_logits(model, split)
    moved = (compute_logits(page.round_to_float16(model), split) - expected).abs()
    report("largest move of a logit by float16", f"{moved.max():.4f}")
    assert moved.max() <= page.FLOAT16_BOUND
    deviations = []
    weights = list(model.parameters())
    for image in split.x[:5]:
        logits = model.train()(to_input(image[None]))[0]
        for logit in logits:
            slopes = torch.autograd.grad(logit, weights, retain_graph=True)
            terms = ((g * step(w)) ** 2 for g, w in zip(slopes, weights, strict=True))
            deviations.append((sum(term.sum() for term in terms) / 12).sqrt().item())
    model.eval()
    report(
        "standard deviation of a logit", f"{min(deviations):.5f} to {max(deviations):.5f}"
    )
    assert 6 * max(deviations) < page.FLOAT16_BOUND
    # The theory fits what is measured.
    measured = moved[:5].pow(2).mean().sqrt().item()
    theory = np.sqrt(np.mean(np.square(deviations)))
    assert theory / 2 < measured < theory * 2


def step(w):
    """Return the distance of float16's numbers around each weight."""
    return 2.0 ** (torch.log2(w.abs().clamp_min(2.0**-14)).floor() - 10)


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
