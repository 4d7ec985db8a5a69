"""What a notebook or a server imports leaves its process as it was."""

import importlib
import io
import os
import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mnist_lstm
from defaults import DIGITS, model_params
from mnist_lstm import PictureError, load, predict
from mnist_lstm.models.base import Reads
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.models.store import save_model
from pictures import drawn, encoded

IMPORT_ALL = """
import importlib, logging, os, pkgutil, random, signal, sys, threading, warnings
import mnist_lstm
assert not {"numpy", "torch"} & set(sys.modules)  # it is quick
import matplotlib, numpy, requests, ruamel.yaml, scipy.special, torch  # these add filters

def state():
    return {
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "environment": dict(os.environ),
        "backend": dict.__getitem__(matplotlib.rcParams, "backend"),
        "rcParams": str(matplotlib.rcParams),
        "generators": [random.getstate(), str(numpy.random.get_state())],
        "torch": [
            torch.get_num_threads(), torch.get_deterministic_debug_mode(),
            torch.get_default_dtype(), str(torch.get_rng_state()),
        ],
        "logging": [logging.root.level, *logging.root.handlers],
        "warnings": [warnings.showwarning, *warnings.filters],
        "python": [sys.excepthook, sys.stdout, sys.stderr, list(sys.path), os.getcwd()],
    }

def import_all():
    for module in pkgutil.walk_packages(mnist_lstm.__path__, "mnist_lstm."):
        importlib.import_module(module.name)
        after = state()
        print(module.name, *(key for key in before if after[key] != before[key]))

before = state()
thread = threading.Thread(target=import_all)
thread.start()
thread.join()
"""


@pytest.mark.long
def test_importing_any_module_in_any_thread_changes_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALL],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path("src").absolute()), "MPLBACKEND": "svg"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == len(list(Path("src/mnist_lstm").rglob("*.py"))) - 1
    assert [line for line in lines if " " in line] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a model in it."""
    folder = tmp_path_factory.mktemp("folder")
    model = LSTMClassifier(model_params(hdim=8))
    save_model(model, folder / "models/model.safetensors", Reads(DIGITS, "mnist", 28))
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return load(folder / "models/model.safetensors")


def test_the_example_in_the_docs_runs_as_it_stands_there(folder, monkeypatch, capsys):
    page = Path("docs/share.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(folder)
    drawn(7).convert("RGB").save("photo.jpg")
    exec(code, {})
    assert re.fullmatch(r"\d 0\.\d+\n", capsys.readouterr().out)


def test_a_picture_is_a_path_bytes_an_image_or_an_array(model, tmp_path):
    picture, exif = drawn(3), Image.Exif()
    picture.save(tmp_path / "3.png")
    exif[0x0112] = 6  # to be turned by 90 degrees
    lying = Image.open(io.BytesIO(encoded(picture.rotate(90), exif=exif)))
    pictures = [str(tmp_path / "3.png"), tmp_path / "3.png", encoded(picture), picture]
    pictures += [np.asarray(picture.convert(mode)) for mode in ("L", "RGB", "RGBA")]
    first, *others = predict(model, [*pictures, lying])
    assert first.image.shape == (28, 28)
    assert first.probabilities.shape == (28, 10)
    assert first.probability == first.probabilities[-1].max()
    assert first.class_name == first.classes[first.probabilities[-1].argmax()]
    for other in others:
        assert (other.image == first.image).all()
        assert other.probability == first.probability
    with warnings.catch_warnings(action="error"):
        torch.from_numpy(first.image)  # it can be written to
    assert lying.getexif()[0x0112] == 6  # left as it is


@pytest.mark.parametrize(
    ("picture", "line"),
    [
        (np.zeros((0, 5), np.uint8), "a picture without pixels"),
        (np.zeros((5, 5)), r"an array float64 \[5, 5\], expected uint8 \[H x W\], "),
        ([encoded(drawn(3)), "absent.png"], r"pictures\[1\]: No such file"),
    ],
)
def test_what_cannot_be_read_is_a_picture_error(model, picture, line):
    with pytest.raises(PictureError, match=line):
        predict(model, picture)


def test_what_is_no_picture_is_a_type_error(model):
    with pytest.raises(TypeError, match="a picture is a path, bytes, a Pillow image or"):
        predict(model, torch.zeros(9, 9))


def test_threads_read_the_same_and_leave_the_warnings_as_they_were(model):
    """What two threads turn off, and on again in the wrong order."""
    before, good, bad = list(warnings.filters), encoded(drawn(3)), b"no picture"

    def read(data):
        try:
            return predict(model, data).probability
        except PictureError:
            return None

    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            found = list(pool.map(read, [good, good, *[bad] * 500]))
            assert warnings.filters == before
    assert found == [*[read(good)] * 2, *[None] * 500]


def test_the_module_predict_does_not_hide_the_function():
    importlib.import_module("mnist_lstm.predict")
    assert mnist_lstm.predict is predict
