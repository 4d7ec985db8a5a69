"""`python -m mnist_lstm.predict`: a line a picture, and a line for what is none."""

import csv
import io
import json
import re
import subprocess
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
from sandbox import _environment, create
from test_picture import header

LINE = r"{}: \d  (> )?\d+\.\d%  \(or \d, \d+\.\d%\)"


@pytest.fixture
def album(tmp_path, monkeypatch):
    """A folder of pictures, good and bad, and of a model; one is in it."""
    drawn(3).save(tmp_path / "three.png")
    ImageOps.invert(drawn(7, side=640)).convert("RGB").save(tmp_path / "seven.jpg")
    Image.new("L", (99, 99), 255).save(tmp_path / "empty.png")
    (tmp_path / "cut.png").write_bytes(encoded(drawn(3))[:700])
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "nothing.png").write_bytes(b"")
    (tmp_path / "huge.png").write_bytes(header(10_000, 10_000))
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
    monkeypatch.setattr(script, "_ignore", lambda: None)  # for the rest of the tests

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


@pytest.mark.long
def test_the_command_reads_files_and_standard_input_and_draws_what_the_model_saw(album):
    """No one can act on a library's warning, or on the backend of a notebook."""
    python = [sys.executable, "-W", "error", "-m", "mnist_lstm.predict"]
    src = _environment() | {"PYTHONPATH": script.__file__.partition("/mnist_lstm")[0]}
    done = subprocess.run(
        [*python, "--show", "shown.png", "three.png", "notes.txt", "-", "seven.jpg"],
        env=src | {"MPLBACKEND": "module://none.such"},
        input=(album / "three.png").read_bytes(),
        capture_output=True,
    )
    three, piped, seven = done.stdout.decode().splitlines()
    assert re.fullmatch(LINE.format("three.png"), three)
    assert re.fullmatch(LINE.format("seven.jpg"), seven)
    assert piped == three.replace("three.png", "-")
    assert done.stderr.startswith(b"error: notes.txt: not a picture that can be read; ")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    width, height = Image.open(album / "shown.png").size
    assert width > height > 200


def test_json_has_an_object_a_line(run):
    status, lines, errors = run("--json", "three.png", "seven.jpg")
    assert (status, errors) == (0, [])
    three, seven = map(json.loads, lines)
    assert [three["file"], seven["file"]] == ["three.png", "seven.jpg"]
    assert three["class"] != three["second"]
    assert 1 >= three["probability"] >= three["second_probability"] >= 0
    assert three["probability"] + three["second_probability"] <= 1 + 1e-6


def test_a_folder_is_a_batch_and_a_table_has_a_row_a_file(run, album):
    (album / "folder/more").mkdir()
    (album / "three.png").rename(album / "folder/more/3, or so.png")
    (album / "seven.jpg").rename(album / "folder/7.jpg")
    (album / "cut.png").rename(album / "folder/cut.png")
    (album / "folder/.hidden").touch()
    status, lines, errors = run("--csv", "folder")
    assert status == 1
    assert len(errors) == 1
    assert errors[0].startswith("error: folder/cut.png: damaged picture: ")
    seven, three = csv.DictReader(lines)
    assert [seven["file"], three["file"]] == ["folder/7.jpg", "folder/more/3, or so.png"]
    _, objects, _ = run("--json", "folder")
    for row, line in zip((seven, three), objects, strict=True):
        assert row == {key: str(value) for key, value in json.loads(line).items()}


def test_bad_files_have_their_lines_and_the_others_are_classified(run):
    bad = {
        "empty.png": "nothing to see: no ink that stands out from the paper",
        "cut.png": "damaged picture: ",
        "notes.txt": "not a picture that can be read; save it as PNG, JPEG or WebP",
        "nothing.png": "an empty file",
        "huge.png": "10,000 x 10,000 pixels are more than the 64 megapixels allowed",
        "folder": "Is a directory",
        "absent.png": "No such file or directory",
        "new\nline.png": "No such file or directory",
        "null\0.png": "embedded null byte",
    }
    status, found, lines = run("three.png", *bad, "seven.jpg")
    assert (status, len(found), len(lines)) == (1, 2, len(bad))
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
    assert (album / "folder").is_dir()


def test_letters_that_the_font_lacks_and_a_model_of_whole_pictures_raise_no_warning(
    run, album
):
    reads = Reads(("\u6570", "\U0001f642"), "scale", 8)
    write_model(album / "x", reads, xdim=8)
    for name in ("\u6570\u5b57.png", "\U0001f642 $x$.png"):
        drawn(3).save(album / name)
    many = ["\u6570\u5b57.png", *["\U0001f642 $x$.png"] * 3]
    status, lines, errors = run("--model", "x", "--show", "shown.png", *many)
    assert (status, errors, len(lines)) == (0, [], 4)
    assert (album / "shown.png").exists()


def test_a_wide_picture_is_scaled_as_the_train_images_or_it_is_said(run, album):
    joined = "می\u200cخواهم"  # noqa: RUF001
    wide = Image.fromarray(np.asarray(drawn(3)).astype(np.uint16) * 4)
    wide.save(album / "wide.png")
    model = LSTMClassifier(model_params(xdim=9, hdim=8, ydim=2))
    found = []
    for greys in ({}, {"I": [0, 1023]}, {"I": [0, 65535]}):
        save_model(model, album / "model", Reads((joined, "b"), "scale", 28, greys))
        _, lines, errors = run("--model", "model", "wide.png")
        found += lines
        note = "note: wide.png: 0 is taken for black and 1,023 for white"
        assert errors == ([] if greys else [note])
    assert found[0] == found[1] != found[2]
    assert joined in found[0]


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
