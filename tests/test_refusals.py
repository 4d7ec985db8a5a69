"""What the real stages refuse in one line, at once.

What never ends in a file's place (a pipe that nobody writes to, a device, a sparse file
larger than any memory), and figures that cannot be.
"""

import json
import os

import pytest
import torch

from mnist_lstm.tensorfile import load_tensors, save_tensors
from pictures import drawn

HUGE = 300 * 10**9


@pytest.fixture(scope="module")
def project(built, tmp_path_factory):
    return built.copy(tmp_path_factory.mktemp("refusals") / "project")


@pytest.fixture
def put(project):
    """Return a function that puts it in the place of a file, until the test ends."""
    moved = []

    def put(kind, file):
        path = project.path / file
        aside = path.with_name("aside")
        path.rename(aside)
        moved.append((aside, path))
        if kind == "pipe":
            os.mkfifo(path)
        else:
            make_huge(path)

    yield put
    for aside, path in moved:
        aside.replace(path)


def make_huge(path):
    path.touch()
    os.truncate(path, HUGE)


def refused(project, *command):
    """Return the line in which ``command`` refuses what it was given, within a minute."""
    limited = 'ulimit -v 8000000; exec timeout 60 "$@"'
    output = project.run("bash", "-c", limited, "-", *command, ok=False, PYTHONPATH="src")
    *_, line = output.splitlines()
    assert "Traceback" not in output
    return line


@pytest.mark.parametrize(
    ("stage", "kind", "file"),
    [
        ("prepare", "pipe", "params.yaml"),
        ("describe", "huge", "params.yaml"),
        ("prepare", "pipe", "data/raw/train-images-idx3-ubyte.gz"),
        ("train", "pipe", "data/prepared/train.safetensors"),
        ("evaluate", "pipe", "models/model.safetensors"),
        ("plot", "pipe", "plots/history.csv"),
        ("export", "pipe", "data/predictions.csv"),
        ("export", "huge", "metrics/evaluate.json"),
    ],
)
def test_a_stage_names_the_file(project, put, stage, kind, file):
    put(kind, file)
    line = refused(project, "python", f"stages/{stage}.py")
    assert line.startswith(f"error: {file}: ")
    found = "not a regular file" if kind == "pipe" else f"{HUGE:,} bytes are more than the"
    assert found in line


@pytest.mark.parametrize("model", ["huge", "/dev/zero"])
def test_predict_names_the_model(project, tmp_path, model):
    drawn(3).save(tmp_path / "three.png")
    path = tmp_path / model  # or /dev/zero itself
    if model == "huge":
        make_huge(path)
    command = "python", "-m", "mnist_lstm.predict", "--model", path, tmp_path / "three.png"
    line = refused(project, *map(str, command))
    assert line.startswith(f"error: {path}: damaged, or no safetensors file: ")


def test_preparing_names_a_picture_of_ones_own(copy):
    for name in ("cat", "dog"):
        folder = copy.path / "own/train" / name
        folder.mkdir(parents=True)
        for digit in (3, 7):
            drawn(digit).rotate(len(name + str(digit))).save(folder / f"{digit}.png")
    make_huge(folder / "big.png")
    copy.set_params({"data": {"name": "own"}})
    output = copy.run("python", "stages/prepare.py", ok=False, PYTHONPATH="src")
    assert f"own/train/dog/big.png: {HUGE:,} bytes are more than the 268,4" in output
    assert "out of memory" not in output


def test_training_passes_over_a_pipe_among_its_checkpoints(project):
    (folder,) = (project.path / "checkpoints").iterdir()
    os.mkfifo(folder / "99999999.safetensors")
    output = project.run("python", "stages/train.py", PYTHONPATH="src")
    assert "99999999.safetensors: damaged, or no safetensors file: not a reg" in output
    assert "resuming from epoch 3" in output


@pytest.mark.parametrize("value", [torch.nan, 3e38])
def test_evaluating_refuses_weights_that_give_no_figures(copy, value):
    path = copy.path / "models/model.safetensors"
    weights, metadata = load_tensors(path, writer="train")
    weights["lin.weight"][:] = value
    weights["lin.weight"][::2] *= -1
    save_tensors(path, weights, metadata)
    before = copy.text("metrics/evaluate.json")
    line = refused(copy, "python", "stages/evaluate.py")
    assert line.startswith("error: models/model.safetensors: ")
    assert " not finite; " in line
    assert copy.text("metrics/evaluate.json") == before


@pytest.mark.parametrize("accuracy", [float("nan"), 77, True, 0.123])
def test_exporting_refuses_an_accuracy_that_is_not_the_predictions(copy, accuracy):
    metrics = json.loads(copy.text("metrics/evaluate.json"))
    metrics["test"]["accuracy"] = accuracy
    (copy.path / "metrics/evaluate.json").write_text(json.dumps(metrics))
    line = refused(copy, "python", "stages/export.py")
    assert line.startswith("error: metrics/evaluate.json: test.accuracy is ")
