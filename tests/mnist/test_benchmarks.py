"""The benchmarks do the work that they time, and the pages show what they found."""

import gzip
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import handwriting
import notebook
import pages
import recipes
import speed
from defaults import DEFAULT, TINY, model_params
from mnist_lstm import runs
from mnist_lstm.data.splits import load_split
from mnist_lstm.device import set_up
from mnist_lstm.evaluation import compute_logits, score
from mnist_lstm.models.base import make_model
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.plumbing.errors import ParamsError, UserError
from mnist_lstm.plumbing.params import Params, parse_yaml
from mnist_lstm.training.loop import Run, fit, start_run
from sandbox import create

NAMES = sorted(path.name for path in Path("recipes").iterdir())
DEFAULTS = Params.model_validate(DEFAULT)
OF_IMAGES = [n for n in NAMES if "data.name=own" not in recipes.read_recipe(n)]
RECORDS = recipes.read_table(recipes.RECORDS)
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


def test_the_seconds_of_an_epoch_are_those_of_its_steps(split):
    """What happens after the last step, and before the first, is not in them."""
    params = Params.model_validate(TINY)
    compute = set_up("cpu", "fp32", 0)
    run = start_run(params.model, params.train, params.augment, compute)
    seen = []

    def between():
        seen.append((run.epoch, len(run.losses)))

    clock = iter(range(1000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "clock", lambda _: next(clock))
        rows = list(speed.with_seconds(run, fit(run, split, split), between))
    # read at the start, after an epoch's last step, and at an epoch's end
    assert [row["seconds"] for row in rows] == [0, 1, 1]
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert {(1, 1), (2, 1)} <= set(seen)


def test_the_clock_starts_once_the_libraries_are_loaded(prepared, monkeypatch):
    """By the fingerprint, as in the stage: a GPU's take as long as a whole job."""
    monkeypatch.chdir(prepared.path)
    called = []
    monkeypatch.setattr(speed, "clock", lambda _: called.append("clock") or 0.0)
    monkeypatch.setattr(speed.Run, "fingerprint", lambda *_: called.append("fingerprint"))
    next(speed.project_epochs(60))
    assert called[:2] == ["fingerprint", "clock"]


def test_an_override_that_is_no_parameter_is_refused():
    assert recipes.override(DEFAULTS, ["train.lr=2e-3"]).train.lr == 2e-3
    for override in ("model.hdin=3", "modl.hdim=3", "hdim=3", "model.hdim=", "model"):
        with pytest.raises(ParamsError, match=r"^-S: mod|^-S: hdim is not a parameter"):
            recipes.override(DEFAULTS, [override])


def test_a_row_tells_every_parameter_but_the_seed_and_what_the_figures_show():
    overrides = recipes.read_recipe("record")
    params = recipes.override(DEFAULTS, [*overrides, "train.seed=7", "train.lr=1.5e-7"])
    words = recipes.in_full(params.model_dump()).split()
    other = {"plot": {"n_sample": 9, "seed": 9}, "model": {"hdim": 3, "init": "pytorch"}}
    others = Params.model_validate(DEFAULT | {k: DEFAULT[k] | v for k, v in other.items()})
    again = recipes.override(others, [*words, "train.seed=7"])
    assert again.model_dump(exclude={"plot"}) == params.model_dump(exclude={"plot"})


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


@pytest.mark.parametrize("name", OF_IMAGES)
def test_a_recipe_learns_in_a_few_steps_and_its_model_is_of_the_notebooks_size(
    name, digits
):
    changes = ["train.epochs=2", "train.batch_size=64", "model.hdim=32"]
    run_recipe(name, "--seeds", "1", *[word for c in changes for word in ("-S", c)])
    (run,) = recipes.read_table(recipes.RUNS).to_dict("records")
    params = recipes.override(
        recipes.committed_params(), [*recipes.read_recipe(name), *changes]
    )
    compute = set_up("cpu", "auto", 0)
    model = start_run(params.model, params.train, params.augment, compute).model
    test = recipes.read_data(params)["test"]
    assert run["loss"] < score(compute_logits(model, test), test.labels).loss
    model = make_model(recipes.override(DEFAULTS, recipes.read_recipe(name)).model)
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == pytest.approx(821_770, rel=0.005 * (model.params.name != "lstm"))


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


def test_what_recipes_are_not_measured_on_is_refused_and_so_is_no_recipe(digits):
    with pytest.raises(UserError, match=r"^own: no images and no sequences"):
        run_recipe("notebook", "-S", "data.name=own")
    with pytest.raises(UserError, match="missing or damaged"):
        run_recipe("notebook", "-S", "data.name=mnist")
    for text in ("train.lr=1", "-S", "-S train.lr=1 train.seed=2"):
        Path("recipes/bad").write_text(text)
        with pytest.raises(UserError, match="bad: expected `-S KEY=VALUE`, got "):
            run_recipe("bad")
    assert recipes.read_table(recipes.RUNS).empty


def test_a_step_of_each_model_is_timed_alone(digits, monkeypatch):
    names, time, taken = [five for five, _ in recipes.MODELS.values()], iter(range(99)), []
    monkeypatch.setattr(recipes, "process_time", lambda: next(time))
    monkeypatch.setattr(Run, "end_step", lambda run, _: taken.append(run.model.called))
    assert recipes.time_steps(names, turns=2) == dict.fromkeys(names, 1)
    assert taken == ["an LSTM", "a GRU", "a Transformer"] * 4


# What the pages show.


def test_the_tables_are_those_of_the_runs_whatever_the_default_is(tmp_path, monkeypatch):
    """Of another default, and with a younger parameter than the rows; of speed, too."""
    texts = [path.read_text() for path in pages.PAGES]
    monkeypatch.chdir(create(tmp_path / "project", TINY).path)
    assert recipes.committed_params() != DEFAULTS
    for path, text in zip(pages.PAGES, texts, strict=True):
        path.write_text(re.sub(WRITTEN, r"\1gone\2", text))
    run_recipe()
    assert [path.read_text() for path in pages.PAGES] == texts
    for path in (recipes.RUNS, recipes.RECORDS):
        path.write_text(path.read_text().replace(" model.dropout=0 ", " "))
    monkeypatch.setitem(runs.OFF, "model.dropout", "0")
    run_recipe()
    assert [path.read_text() for path in pages.PAGES] == texts


@pytest.mark.parametrize("name", NAMES)
def test_the_record_that_stands_is_the_recipe(name):
    last = RECORDS[RECORDS.recipe == name].iloc[-1]
    words = recipes.read_recipe(name) + ["data.name=digits"] * (name == "digits")
    assert last.params == recipes.in_full(recipes.override(DEFAULTS, words).model_dump())


@pytest.mark.parametrize("record", [*RECORDS.itertuples()], ids=[*RECORDS.commit])
def test_the_commit_of_a_record_has_its_recipe_and_the_defaults(record, tmp_path):
    def show(file):
        command = ["git", "show", f"{record.commit}:{file}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if "invalid object name" in done.stderr:
            pytest.skip("a clone without history")
        return done.stdout

    recipe = tmp_path / "recipe"
    recipe.write_text(show(f"recipes/{record.recipe}"))
    there = parse_yaml(show("params.yaml"), "params.yaml")
    known = Params.model_validate({k: v | there.get(k, {}) for k, v in DEFAULT.items()})
    words = recipes.read_recipe(recipe) + ["data.name=digits"] * (record.recipe == "digits")
    assert record.params == recipes.in_full(recipes.override(known, words).model_dump())


def test_what_is_misread_is_counted_and_told():
    def model(x):
        assert x.shape == (10, 28, 28)
        return torch.eye(10)[[0, 7, 2, 3, 4, 5, 6, 7, 8, 9]]

    assert len({handwriting.drawing(8, seed) for seed in (0, 1, 0)}) == 2
    wrong = handwriting.misread(model, handwriting.drawing, 2)
    assert handwriting.told("drawn", 20, wrong) == "drawn: 18 of 20, 2 x 1 as 7"
