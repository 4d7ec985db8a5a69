"""Predictions for a model of sequences: of files, arrays and tables in memory."""

import io
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from defaults import model_params
from mnist_lstm import SequenceError, load, predict
from mnist_lstm.models.base import Reads, make_model
from mnist_lstm.models.store import save_model
from mnist_lstm.predict import main
from pictures import encoded

SCALING = {"mean": [10.0, -3.0], "deviation": [2.0, 0.5], "missing": "refuse"}
NAMED = SCALING | {"features": ["speed", "heat"]}
VALUES = np.array([[10.5, -3.25], [12, -2], [9, -4], [8, -3]], np.float32)
CSV = "speed,heat\n" + "\n".join(f"{a},{b}" for a, b in VALUES.tolist())


def write_model(path, scaling):
    torch.manual_seed(0)
    model = make_model(model_params(name="lstm", xdim=2, ydim=3, hdim=8))
    save_model(model, path, Reads(("rest", "spin", "heat up"), "", 9, scaling=scaling))
    return load(path)


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "m", NAMED)


def test_a_file_an_array_and_bytes_say_the_same_of_any_length(model, tmp_path):
    (tmp_path / "mine.csv").write_text(CSV)
    np.save(tmp_path / "mine.npy", VALUES.astype(np.float64))
    sources = [tmp_path / "mine.csv", str(tmp_path / "mine.npy"), VALUES, CSV.encode()]
    found = predict(model, sources)
    standard = (VALUES - SCALING["mean"]) / SCALING["deviation"]
    with torch.inference_mode():
        logits = model(torch.tensor(standard)[None].float())[0]
    for one in found:
        assert one.class_name == model.reads.classes[logits.argmax()]
        np.testing.assert_allclose(one.image, standard, rtol=1e-6)
        assert one.probability == pytest.approx(logits.softmax(0).max().item(), abs=1e-6)
    assert predict(model, np.tile(VALUES, (50, 1))).probabilities.shape == (200, 3)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros((4, 3)), "columns: 3; the model reads speed, heat"),
        (b"heat,speed\n1,2\n3,4.5", "columns: heat, speed; the model reads speed, heat"),
        (b"speed,heat\n1,x\n2,3", r"line 2, column 2 \(heat\): 'x' is no number"),
        (np.zeros((2, 2, 2)), r"an array \[2, 2, 2\], expected \[steps x values\]"),
        (
            encoded(Image.new("L", (28, 28))),
            r"zero bytes in it.*\(the model reads sequences\)",
        ),
        (np.full((3, 2), np.nan), r"6 missing values, the first in .*`prepare.missing: m"),
        ("no.csv", "No such file"),
    ],
    ids="width order text dimensions picture missing absent".split(),
)
def test_what_it_cannot_read_is_one_line(model, given, says):
    with pytest.raises(SequenceError, match=says):
        predict(model, given)


def test_a_picture_is_refused_by_a_model_of_sequences(model):
    with pytest.raises(TypeError, match=r"a sequence is a path, .* not Image"):
        predict(model, Image.new("L", (28, 28)))


def test_missing_values_are_the_mean_to_a_model_that_was_trained_so(tmp_path):
    model = write_model(tmp_path / "m", SCALING | {"missing": "mean"})
    torn = VALUES.copy()
    torn[1, 0] = np.nan
    assert predict(model, torn).image[1].tolist() == [0, 2]
    assert predict(model, b"a,b\n1,\n2,3").image[0, 1] == 0  # any names: it knows none


def test_the_command_has_a_line_a_file_and_a_figure(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "b.csv").write_text(CSV.replace(",", ";").replace(".", ","))
    (tmp_path / "bad.csv").write_text("speed,heat\n1,2\n3")
    files = ["a.csv", "b.csv", "bad.csv", "-"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CSV.encode())))
    options = ["--model", "m", "--json", "--show", "seen.png"]
    monkeypatch.setattr(sys, "argv", ["predict", *files, *options])
    with pytest.raises(SystemExit, match="1"):
        main()
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line.pop("file") for line in lines] == ["a.csv", "b.csv", "-"]
    assert lines[0] == lines[1] == lines[2]
    assert "error: bad.csv: line 3: 1 cell, expected 2" in err
    assert "note: b.csv: decimal commas, read as points" in err
    assert (tmp_path / "seen.png").stat().st_size > 10_000
