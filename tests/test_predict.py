"""`python -m mnist_lstm.predict`: a line a picture, and a line for what is none."""

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image, ImageOps

from mnist_lstm.models.base import Reads
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.models.store import save_model
from mnist_lstm.plumbing.params import ModelParams
from pictures import drawn, encoded
from sandbox import _environment
from test_picture import header

MODEL = "models/model.safetensors"


@pytest.fixture(scope="module")
def album(built, tmp_path_factory):
    """A folder of pictures, good and bad."""
    folder = tmp_path_factory.mktemp("album")
    drawn(3).save(folder / "three.png")
    ImageOps.invert(drawn(7, side=640)).convert("RGB").save(folder / "seven.jpg")
    Image.new("L", (99, 99), 255).save(folder / "empty.png")
    (folder / "cut.png").write_bytes(encoded(drawn(3))[:700])
    (folder / "notes.txt").write_text("not a picture")
    (folder / "nothing.png").write_bytes(b"")
    (folder / "huge.png").write_bytes(header(10_000, 10_000))
    (folder / "folder").mkdir()
    return folder


@pytest.fixture
def predict(built, album):
    """Return a function that runs the command in the album, on the project's model."""

    def predict(*arguments, stdin=b"", model=MODEL, **env):
        python = [sys.executable, "-W", "error"]  # no one can act on a library's warning
        command = [*python, "-m", "mnist_lstm.predict", "--model"]
        command += [built.path / model, *arguments]
        return subprocess.run(
            command,
            cwd=album,
            env=_environment() | {"PYTHONPATH": str(built.path / "src")} | env,
            input=stdin,
            capture_output=True,
        )

    return predict


def test_each_picture_has_a_line_with_class_probability_and_second_choice(predict):
    done = predict("three.png", "seven.jpg")
    assert (done.returncode, done.stderr) == (0, b"")
    three, seven = done.stdout.decode().splitlines()
    pattern = r"{}: \d  (> )?\d+\.\d%  \(or \d, \d+\.\d%\)"
    assert re.fullmatch(pattern.format("three.png"), three)
    assert re.fullmatch(pattern.format("seven.jpg"), seven)


def test_json_has_an_object_a_line(predict):
    done = predict("--json", "three.png", "seven.jpg")
    three, seven = map(json.loads, done.stdout.splitlines())
    assert [three["file"], seven["file"]] == ["three.png", "seven.jpg"]
    assert three["class"] != three["second"]
    assert 1 >= three["probability"] >= three["second_probability"] >= 0
    assert three["probability"] + three["second_probability"] <= 1 + 1e-6


def test_standard_input_is_a_picture_like_any(predict, album):
    piped = predict("--json", "-", stdin=(album / "three.png").read_bytes())
    named = predict("--json", "three.png")
    piped, named = json.loads(piped.stdout), json.loads(named.stdout)
    assert piped.pop("file") == "-"
    assert named.pop("file") == "three.png"
    assert piped == named


def test_bad_files_have_their_lines_and_the_others_are_classified(predict):
    bad = {
        "empty.png": "nothing to see: no ink that stands out from the paper",
        "cut.png": "damaged picture: ",
        "notes.txt": "not a picture that can be read; save it as PNG, JPEG or WebP",
        "nothing.png": "an empty file",
        "huge.png": "10,000 x 10,000 pixels are more than the 64 megapixels allowed",
        "folder": "a folder; name the pictures in it",
        "absent.png": "no such file",
        "new\nline.png": "no such file",
    }
    done = predict("three.png", *bad, "seven.jpg")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    lines = done.stderr.decode().splitlines()
    assert len(lines) == len(bad)
    for line, (name, reason) in zip(lines, bad.items(), strict=True):
        assert line.removeprefix("error: ").startswith(
            f"{name.replace(chr(10), chr(92) + 'n')}: {reason}"
        )


def test_a_missing_model_is_told_at_once(predict, tmp_path):
    start = time.monotonic()
    done = predict("three.png", model=tmp_path / "none.safetensors")
    assert time.monotonic() - start < 15  # without PyTorch, and with a machine at work
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"error: {tmp_path}/none.safetensors: no model there; ")


def test_a_file_that_is_no_model_is_refused(predict, built):
    done = predict("three.png", model=built.path / "data/prepared/test.safetensors")
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert line.endswith("test.safetensors: not a model; the stage `train` writes it")


def test_show_draws_what_the_model_saw(predict, tmp_path):
    shown = tmp_path / "shown.png"
    assert predict("--show", shown, "three.png", "notes.txt", "seven.jpg").returncode == 1
    width, height = Image.open(shown).size
    assert width > height > 200


@pytest.mark.long
def test_show_draws_the_first_of_many_pictures_and_says_so(predict, tmp_path):
    shown = tmp_path / "shown.png"
    done = predict("--show", shown, *["three.png"] * 51)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 51)
    note = f"note: {shown} shows the first 50 of 51 pictures\n"
    assert done.stderr.decode() == note
    assert Image.open(shown).height < 3000


def test_show_replaces_no_folder(predict, tmp_path):
    shown = tmp_path / "shown.png"
    shown.mkdir()
    done = predict("--show", shown, "three.png")
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert line.startswith(f"error: {shown}: ")
    assert shown.is_dir()


def test_the_backend_of_a_notebook_does_not_matter(predict, tmp_path):
    backend = "module://none.such"  # Jupyter's, where it is not installed here
    shown = tmp_path / "shown.png"
    done = predict("--show", shown, "three.png", MPLBACKEND=backend)
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown.exists()


def test_letters_that_the_font_lacks_and_a_model_of_whole_pictures_raise_no_warning(
    predict, tmp_path
):
    size = {"xdim": 8, "hdim": 2, "ydim": 2, "n_layer": 1, "dropout": 0, "init": "keras"}
    model, shown = tmp_path / "x.safetensors", tmp_path / "shown.png"
    reads = Reads(("\u6570", "\U0001f642"), "scale", 8)
    save_model(LSTMClassifier(ModelParams(**size)), model, reads)
    for name in ("\u6570\u5b57.png", "\U0001f642 $x$.png"):
        drawn(3).save(tmp_path / name)
    done = predict("--show", shown, *tmp_path.glob("*.png"), model=model)
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown.exists()


def test_a_model_of_one_class_is_refused(predict, tmp_path):
    size = {"xdim": 28, "hdim": 2, "ydim": 1, "n_layer": 1, "dropout": 0, "init": "keras"}
    path = tmp_path / "one.safetensors"
    model = LSTMClassifier(ModelParams(**size))
    save_model(model, path, Reads(("only",), "mnist", 28))
    done = predict("three.png", model=path)
    (line,) = done.stderr.decode().splitlines()
    assert (done.returncode, line) == (
        1,
        f"error: {path}: not a model; the stage `train` writes it",
    )


def test_a_wide_picture_is_scaled_as_the_train_images_or_it_is_said(predict, tmp_path):
    size = {"xdim": 9, "hdim": 8, "ydim": 2, "n_layer": 1, "dropout": 0, "init": "keras"}
    model = LSTMClassifier(ModelParams(**size))
    joined = "می\u200cخواهم"  # noqa: RUF001
    wide = Image.fromarray(np.asarray(drawn(3)).astype(np.uint16) * 4)
    wide.save(tmp_path / "wide.png")
    lines = []
    for greys in ({}, {"I": [0, 1023]}, {"I": [0, 65535]}):
        save_model(model, tmp_path / "model", Reads((joined, "b"), "scale", 28, greys))
        done = predict(tmp_path / "wide.png", model=tmp_path / "model")
        lines.append(done.stdout.decode())
        note = f"note: {tmp_path}/wide.png: 0 is taken for black and 1,023 for white\n"
        assert done.stderr.decode() == ("" if greys else note)
    assert lines[0] == lines[1] != lines[2]
    assert joined in lines[0]


def test_make_runs_no_part_of_a_name(built, tmp_path):
    folder = tmp_path / "album"
    folder.mkdir()
    for name in ("two words.png", "$(touch pwned).png", "`touch pwned`.png", "it's.png"):
        drawn(4).save(folder / name)
    names = r"""'two words.png' "it's.png" '$(touch pwned).png' '`touch pwned`.png'"""
    names = f"{folder}/" + names.replace(" '", f" {folder}/'").replace(' "', f' {folder}/"')
    names += " ;touch${IFS}pwned"
    copy = built.copy(tmp_path / "copy")
    (copy.path / ".venv").mkdir()
    copy.run("bash", "-c", "cksum <requirements.txt >.venv/installed")
    output = copy.run("make", "predict", f"FILES={names}", ok=False, PYTHONPATH="src")
    for name in ("two words.png", "it's.png", "$(touch pwned).png", "`touch pwned`.png"):
        assert f"{folder}/{name}: " in output.replace("error: ", "")
    assert "error: ;touch${IFS}pwned: no such file" in output
    assert not list(copy.path.rglob("pwned"))
    assert output.count("%  (or ") == 4
    assert "which pictures?" in copy.run("make", "predict", ok=False, PYTHONPATH="src")
