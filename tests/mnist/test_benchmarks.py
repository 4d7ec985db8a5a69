"""The benchmarks do the work that they time, and the pages show what they found."""

import gzip
import re
import struct
import sys
from pathlib import Path

import pytest
import torch

import notebook
import recipes
import speed
from defaults import DEFAULT, TINY, model_params
from mnist_lstm import runs
from mnist_lstm.data.splits import load_split
from mnist_lstm.models.base import make_model
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.plumbing.params import Params
from sandbox import create

NAMES = sorted(path.name for path in Path("recipes").iterdir())
DEFAULTS = Params.model_validate(DEFAULT)
WRITTEN = r"(?s)(<!-- (?:benchmarks|make bench)[^>]*-->\n).*?(\n<!-- )"  # by the scripts


def test_the_baseline_is_the_same_model():
    theirs, ours = notebook.Classifier(), LSTMClassifier(model_params())
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(3, 28, 28)
    torch.testing.assert_close(theirs(x), ours(x))


@pytest.mark.long
def test_both_train_in_processes_of_their_own(prepared, tmp_path, monkeypatch):
    """`digits`, for the notebook as MNIST's files, by a recipe of fewer epochs than its."""
    sandbox = prepared.copy(tmp_path / "project")
    sandbox.set_params({"train": {"epochs": 1}})
    monkeypatch.chdir(sandbox.path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # other tests share the cores
    for name, prefix in (("train", "train"), ("test", "t10k")):
        split = load_split(Path(f"data/prepared/{name}.safetensors"), DEFAULTS.model)
        for kind, values in (("images-idx3", split.x), ("labels-idx1", split.labels)):
            head = struct.pack(f">{1 + values.ndim}i", 2048 + values.ndim, *values.shape)
            with gzip.open(f"data/raw/{prefix}-{kind}-ubyte.gz", "wb") as file:
                file.write(head + values.byte().numpy().tobytes())
    result = speed.compare(1437)
    for name, epochs in (("notebook", 2), ("project", 1)):
        found = result[name]
        untrained, *_, trained = found["test_accuracy"]
        assert len(found["test_accuracy"]) == 1 + epochs
        assert trained > untrained + 0.05
        assert 0 < found["train"]["least"] <= found["train"]["median"] < found["job"]


def test_the_clock_starts_once_the_libraries_are_loaded(prepared, monkeypatch):
    """By the fingerprint, as in the stage: a GPU's take as long as a whole job."""
    monkeypatch.chdir(prepared.path)
    called = []
    monkeypatch.setattr(speed, "clock", lambda _: called.append("clock") or 0.0)
    monkeypatch.setattr(speed.Run, "fingerprint", lambda *_: called.append("fingerprint"))
    next(speed.project_epochs(60))
    assert called[:2] == ["fingerprint", "clock"]


@pytest.fixture
def digits(prepared, tmp_path, monkeypatch):
    """A copy of the project with `digits` downloaded, as the working directory."""
    sandbox = prepared.copy(tmp_path / "project")
    monkeypatch.chdir(sandbox.path)
    head, *_ = recipes.RUNS.read_text().splitlines(keepends=True)
    recipes.RUNS.write_text(head)
    return sandbox


def run_recipe(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["recipes.py", *arguments])
        recipes.main()


def test_runs_go_on_with_the_next_seed_and_never_mix_parameters(digits):
    """Nor does an experiment in the working tree reach a run."""
    tiny = ("-S", "train.epochs=1", "-S", "prepare.valid_size=100")
    run_recipe("notebook", "--seeds", "1", *tiny)
    first = recipes.RUNS.read_text()
    digits.set_params({"model": {"hdim": 7}, "train": {"beta1": 0.5}})
    run_recipe("notebook", "--seeds", "2", *tiny)
    run_recipe("notebook", "--seeds", "1", *tiny, "-S", "train.lr=0.02")
    assert recipes.RUNS.read_text().startswith(first)
    rows = recipes.read_table(recipes.RUNS)
    assert rows.seed.tolist() == [0, 1, 0]
    assert rows["split"].tolist() == ["valid"] * 3
    assert rows.train_loss_by_epoch.nunique() == 3
    assert rows.params.duplicated().tolist() == [False, True, False]
    assert f"model.hdim={TINY['model']['hdim']} " in rows.params[1]
    assert "train.lr=0.02 " in rows.params[2]
    assert recipes.time_steps(["notebook"], turns=1)["notebook"] > 0


# What the pages show.


def test_the_tables_are_those_of_the_runs_whatever_the_default_is(tmp_path, monkeypatch):
    """Of another default, and with a younger parameter than the rows; of speed, too."""
    texts = [path.read_text() for path in speed.PAGES]
    monkeypatch.chdir(create(tmp_path / "project", TINY).path)
    assert recipes.committed_params() != DEFAULTS
    for path, text in zip(speed.PAGES, texts, strict=True):
        path.write_text(re.sub(WRITTEN, r"\1gone\2", text))
    run_recipe()
    assert [path.read_text() for path in speed.PAGES] == texts
    for path in (recipes.RUNS, recipes.RECORDS):
        path.write_text(path.read_text().replace(" model.dropout=0 ", " "))
    monkeypatch.setitem(runs.OFF, "model.dropout", "0")
    run_recipe()
    assert [path.read_text() for path in speed.PAGES] == texts


@pytest.mark.parametrize("name", NAMES)
def test_the_record_that_stands_is_the_recipe_and_its_model_of_the_notebooks_size(name):
    words = recipes.read_recipe(name)
    params = recipes.override(DEFAULTS, words)
    if params.data.name != "own":
        n = sum(p.numel() for p in make_model(params.model).parameters())
        assert n == pytest.approx(821_770, rel=0.005 * (params.model.name != "lstm"))
    params = recipes.override(DEFAULTS, words + ["data.name=digits"] * (name == "digits"))
    records = recipes.read_table(recipes.RECORDS)
    found = records[records.recipe == name].iloc[-1].params
    assert found == recipes.in_full(params.model_dump())
