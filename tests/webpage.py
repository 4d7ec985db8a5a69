"""The page, driven in a browser; conftest.py has the fixtures that open it."""

import json
import re
import time
from pathlib import Path

import numpy as np
import torch

from mnist_lstm.data.splits import load_split, to_input
from mnist_lstm.export import page
from mnist_lstm.models.store import load_model
from mnist_lstm.plumbing.params import load_params
from pictures import drawn, encoded
from strokes import DIGITS as STROKES

SOURCE = Path("page")


def exported(project):
    return project.path / "models/page.html"


def data_of(path):
    """Return the data in the page at ``path``."""
    (text,) = re.findall(r'id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(text)


def write_page(folder, data, model=None, **changes):
    """Write a page of ``data``, with another ``model`` if there is one; return its path."""
    if model:
        sizes = model.params.model_dump(include={"name", "hdim", "n_layer", "xdim", "ydim"})
        weights = page.encode_weights(model, torch.zeros(1, 28, 28))
        data = data | {"model": sizes, "weights": weights}
    path = folder / "page.html"
    path.write_bytes(page.assemble(SOURCE, data | changes))
    return path


def load(project, n=200):
    """Return a project's model, and ``n`` of its images, test images first."""
    params = load_params(project.path / "params.yaml").model
    model = load_model(project.path / "models/model.safetensors", params)
    parts = [
        load_split(project.path / f"data/prepared/{name}.safetensors", params)
        for name in ("test", "train")
    ]
    return model, torch.cat([part.x for part in parts])[:n]


def wait(tab, expression):
    """Wait until ``expression`` is true; Playwright's own way is against the policy."""
    end = time.monotonic() + 30
    while not tab.evaluate(expression):
        assert time.monotonic() < end, expression
        tab.wait_for_timeout(20)


READ = """(images) => images.map((image) => {
    const { height, width } = app.data;
    const greys = bytesOf(image);
    const rows = Array.from({ length: height }, (_, i) =>
        Float32Array.from(greys.subarray(i * width, (i + 1) * width), (v) => v / 255));
    return app.model.read(rows).map((logits) => Array.from(logits));
})"""


def read_by_page(tab, images):
    """Return the logits after each row as the page computes them: [N x L x ydim]."""
    return torch.tensor(tab.evaluate(READ, [page.encode_image(image) for image in images]))


@torch.inference_mode()
def assert_reads_alike(tab, model, images):
    """Assert that the page has the logits of ``model``, but for its rounded weights."""
    found = read_by_page(tab, images)
    x = to_input(images)
    rounded = page.round_to_float16(model)
    torch.testing.assert_close(found, rounded.read(x), rtol=0, atol=1e-4)
    found, expected = found[:, -1], model(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=page.FLOAT16_BOUND)
    best = expected.topk(2).values
    clear = best[:, 0] - best[:, 1] > 2 * page.FLOAT16_BOUND
    assert clear.sum() > len(images) / 2
    assert (found.argmax(1) == expected.argmax(1))[clear].all()


def seen(tab):
    """Return the image that the page reads, uint8 [L x Q], if there is one."""
    values = tab.evaluate("app.reading.image && [...app.reading.image]")
    return None if values is None else np.array(values, np.uint8).reshape(28, 28)


def apart(one, other):
    """Return by how many greys two images differ in the mean."""
    return np.abs(one.astype(int) - np.asarray(other).astype(int)).mean()


def row(tab):
    """Return how many rows are read."""
    return int(tab.input_value("#row"))


def draw(tab, digit, zoom=1, middle=140):
    """Draw a digit on the paper with the mouse."""
    box = tab.locator("#paper").bounding_box()
    unit = box["width"] / 280
    for stroke in STROKES[digit]:
        places = (np.array(stroke) - 140) * zoom + middle
        points = [(box["x"] + x * unit, box["y"] + y * unit) for x, y in places]
        tab.mouse.move(*points[0])
        tab.mouse.down()
        for point in points[1:]:
            tab.mouse.move(*point)
        tab.mouse.up()


def choose(tab, path, data=None):
    """Choose a file of ``data``, by default of a digit that is named so."""
    path.write_bytes(encoded(drawn(int(path.stem))) if data is None else data)
    tab.locator("#file").set_input_files(path)
