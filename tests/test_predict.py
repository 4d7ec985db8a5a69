"""`python -m mnist_lstm.predict`: a line a picture, and a line for what is none."""

import csv
import io
import json
import re
import sys
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from defaults import DIGITS, TINY, model_params
from mnist_lstm.data.splits import save_split
from mnist_lstm.models.base import Reads
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.models.store import save_model
from mnist_lstm.plumbing import script
from mnist_lstm.predict import main
from pictures import drawn, encoded
from sandbox import create

LINE = r"{}: \d  (> )?\d+\.\d%  \(or \d, \d+\.\d%\)"


@pytest.fixture
def album(tmp_path, monkeypatch):
    """A folder of pictures, good and bad, and of a model; one is in it."""
    drawn(3).save(tmp_path / "three.png")
    ImageOps.invert(drawn(7, side=640)).convert("RGB").save(tmp_path / "seven.jpg")
    (tmp_path / "cut.png").write_bytes(encoded(drawn(3))[:700])
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "folder").mkdir()
    write_model(tmp_path / "models/model.safetensors", Reads(DIGITS, "mnist", 28))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_model(path, reads, **sizes):
    model = LSTMClassifier(model_params(hdim=8, ydim=len(reads.classes), **sizes))
    save_model(model, path, reads)


@pytest.fixture
def run(album, monkeypatch, capsys):
    """Return a function that runs the command in this process: status, output, errors."""
    monkeypatch.setattr(script, "_handle", lambda _: None)  # for the rest of the tests

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = 0
        with warnings.catch_warnings(action="error"):
            try:
                script.run(main, alone=False)
            except SystemExit as ended:
                status = ended.code
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return run


def test_a_folder_is_a_batch_and_a_table_or_json_has_a_row_a_file(run, album):
    (album / "folder/more").mkdir()
    (album / "three.png").rename(album / "folder/more/3, or so.png")
    (album / "seven.jpg").rename(album / "folder/7.jpg")
    (album / "cut.png").rename(album / "folder/cut.png")
    (album / "folder/.hidden").touch()
    status, lines, (error,) = run("--csv", "folder")
    assert status == 1
    assert error.startswith("error: folder/cut.png: damaged picture: ")
    rows = list(csv.DictReader(lines))
    assert [row["file"] for row in rows] == ["folder/7.jpg", "folder/more/3, or so.png"]
    objects = [json.loads(line) for line in run("--json", "folder")[1]]
    assert rows == [{key: str(v) for key, v in found.items()} for found in objects]
    for found in objects:
        assert found["class"] != found["second"]
        assert 1 >= found["probability"] >= found["second_probability"] >= 0


def test_bad_files_have_their_lines_and_the_others_are_classified(run, album):
    bad = {
        "cut.png": "damaged picture: ",
        "notes.txt": "not a picture that can be read; save it as PNG, JPEG or WebP",
        "folder": "Is a directory",
        "new\nline.png": "No such file or directory",
        "null\0.png": "embedded null byte",
    }
    stdin = (album / "three.png").read_bytes()
    files = ["three.png", *bad, "-", "seven.jpg"]
    status, (three, piped, seven), lines = run("--show", "x.png", *files, stdin=stdin)
    assert re.fullmatch(LINE.format("three.png"), three)
    assert re.fullmatch(LINE.format("seven.jpg"), seven)
    assert piped == three.replace("three.png", "-")
    width, height = Image.open(album / "x.png").size
    assert width > height > 200
    assert status == 1
    for line, (name, reason) in zip(lines, bad.items(), strict=True):
        shown = name.replace("\n", "\\n").replace("\0", "\\x00")
        assert line.startswith(f"error: {shown}: {reason}")


def test_what_is_no_model_or_cannot_be_written_is_one_line(run, split, album):
    save_split(split, album / "test.safetensors")
    for arguments, reason in {
        ("--model", "none"): "none: no model there; `make repro` trains one",
        ("--model", "test.safetensors"): "test.safetensors: not a model; the stage `train`",
        ("--model", "notes.txt"): "notes.txt: damaged, or not a file of the stage `train`",
        ("--show", "folder"): "folder: ",
    }.items():
        status, _, (line,) = run(*arguments, "three.png")
        assert status == 1
        assert line.startswith(f"error: {reason}")


def test_letters_that_the_font_lacks_raise_no_warning(run, album):
    write_model(album / "x", Reads(("\u6570", "\U0001f642"), "scale", 8), xdim=8)
    drawn(3).save(album / "\u6570 $x$.png")
    status, lines, errors = run("--model", "x", "--show", "shown.png", "\u6570 $x$.png")
    assert (status, errors, len(lines)) == (0, [], 1)
    assert (album / "shown.png").exists()


def test_a_wide_picture_is_scaled_as_the_train_images_or_it_is_said(run, album):
    wide = Image.fromarray(np.asarray(drawn(3)).astype(np.uint16) * 4)
    wide.save(album / "wide.png")
    model = LSTMClassifier(model_params(xdim=9, hdim=8, ydim=2))
    found = []
    for greys in ({}, {"I": [0, 1023]}, {"I": [0, 65535]}):
        save_model(model, album / "model", Reads(("a", "b"), "scale", 28, greys))
        _, lines, errors = run("--json", "--model", "model", "wide.png")
        found += lines
        note = "note: wide.png: 0 is taken for black and 1,023 for white"
        assert errors == ([] if greys else [note])
    assert found[0] == found[1] != found[2]


@pytest.mark.long
def test_make_runs_no_part_of_a_name(tmp_path):
    project, folder = create(tmp_path / "project", TINY), tmp_path / "album"
    folder.mkdir()
    names = "two words.png", "$(touch pwned).png", "`touch pwned`.png", "it's.png"
    for name in names:
        drawn(4).save(folder / name)
    files = [f'"{folder}/{name}"' for name in names] + [";touch${IFS}pwned"]
    write_model(project.path / "models/model.safetensors", Reads(DIGITS, "mnist", 28))
    (project.path / ".venv").mkdir()
    project.run("bash", "-c", "cksum <requirements.txt >.venv/installed")
    make = ("make", "predict")
    output = project.run(*make, f"FILES={' '.join(files)}", ok=False, PYTHONPATH="src")
    for name in names:
        assert f"{folder}/{name}: " in output.replace("error: ", "")
    assert "error: ;touch${IFS}pwned: No such file" in output
    assert not list(project.path.rglob("pwned"))
    assert output.count("%  (or ") == 4
    assert "which pictures?" in project.run(*make, ok=False)
