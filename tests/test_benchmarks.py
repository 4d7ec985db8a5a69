"""The benchmarks do the work that they time, and the README shows what they found."""

import json
import re
import sys
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch

sys.path.insert(0, str(Path("benchmarks").resolve()))

import bench
import growth
import notebook
import race
import recipes
import study
import sweep
import ways
from mnist_lstm import datasets, device, params, preparation, tensors
from mnist_lstm.model import LSTMClassifier
from mnist_lstm.params import ModelParams, ParamsError
from project import DEFAULT, TINY, create

RECIPES = sorted(path.name for path in Path("recipes").iterdir())


def test_the_baseline_is_the_same_model():
    theirs, ours = notebook.Classifier(), LSTMClassifier(28, 256, 10, 2)
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(3, 28, 28)
    torch.testing.assert_close(theirs(x), ours(x))


def test_both_ways_train_and_judge(tmp_path, monkeypatch):
    raw, prepared = tmp_path / "raw", tmp_path / "prepared"
    raw.mkdir()
    prepared.mkdir()
    datasets.write_digits(raw)
    for name, split in zip(("train", "test"), preparation.read(raw), strict=True):
        tensors.save(split, prepared / f"{name}.safetensors")
    (tmp_path / "params.yaml").write_text(Path("params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    with (
        ways.Way(ways.notebook, raw, 300) as theirs,
        ways.Way(ways.project, prepared, 300) as ours,
    ):
        for way in (theirs, ours):
            untrained, trained = way.ask("turn"), way.ask("turn")
            judged = {"evaluate", "train_accuracy", "test_accuracy"}
            assert untrained.keys() == judged
            assert trained.keys() == judged | {"train"}
            assert 0 < trained["train"] < 60
            assert 0.05 < trained["test_accuracy"] < 1
            assert 200 < way.ask("memory")["peak_memory_mb"] < 4000


def test_the_default_step_takes_35_gflop():
    """Counted by PyTorch, for a layer written out in products of matrices."""
    from torch.utils.flop_counter import FlopCounterMode

    n, length, q, d = 3, 4, 5, 6
    sizes = ModelParams(**(DEFAULT["model"] | {"xdim": q, "hdim": d}))
    x = torch.rand(length, n, q)
    with FlopCounterMode(display=False) as counter:
        steps = list(x)
        for width in (q, d):
            w_ih = torch.rand(width, 4 * d, requires_grad=True)
            w_hh = torch.rand(d, 4 * d, requires_grad=True)
            h = torch.zeros(n, d, requires_grad=True)
            for t in range(length):
                h = (steps[t] @ w_ih + h @ w_hh)[:, :d].tanh()
                steps[t] = h
        (h @ torch.rand(d, 10, requires_grad=True)).sum().backward()
    assert ways.flop_a_step(sizes, n, length) == counter.get_total_flops()
    default = ModelParams(**DEFAULT["model"])
    assert ways.flop_a_step(default, 256, 28) == pytest.approx(34.7e9, rel=0.01)


def test_a_step_is_measured_in_each_precision_that_the_device_has():
    cpu = torch.device("cpu")
    able = growth.precisions(cpu)
    assert able == (["fp32", "bf16"] if device._has_lstm_in_bf16() else ["fp32"])
    settings = params.Params.model_validate(TINY)
    rows = growth.measure(settings, cpu, able, "hdim", 8)
    assert [row["precision"] for row in rows] == able
    for row in rows:
        flop = ways.flop_a_step(settings.model.model_copy(update={"hdim": 8}), 64, 28)
        assert row["gflops"] == pytest.approx(flop / row["seconds_a_step"] / 1e9, rel=0.2)


def test_a_study_tells_mean_spread_and_interval():
    runs = [{"heldout_accuracy": [0.1, a], "seconds": [1, 2]} for a in (0.96, 0.97, 0.98)]
    found = study.summary(runs)
    assert found["mean"] == pytest.approx(0.97)
    assert found["standard_deviation"] == pytest.approx(0.01)
    low, high = found["interval_95"]  # Student's t for 2 degrees of freedom: 4.303
    assert high - low == pytest.approx(2 * 4.303 * 0.01 / 3**0.5)
    assert (found["best"], found["worst"]) == (0.98, 0.96)
    assert found["median_seconds_of_training"] == 3


def test_a_study_refuses_what_is_no_parameter():
    settings = params.Params.model_validate(TINY)
    assert study.overridden(settings, ["train.lr=1e-3"]).train.lr == 1e-3
    for override in ("model.hdin=3", "modl.hdim=3", "hdim=3", "model.hdim=", "model"):
        with pytest.raises(ParamsError, match=r"^-S: mod|^-S: hdim is not a parameter"):
            study.overridden(settings, [override])


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """A folder with `digits` as `download` leaves them, and the recipes."""
    (tmp_path / "data/raw").mkdir(parents=True)
    datasets.write_digits(tmp_path / "data/raw")
    for name in RECIPES:
        (tmp_path / "recipes").mkdir(exist_ok=True)
        (tmp_path / "recipes" / name).write_text(Path("recipes", name).read_text())
    (tmp_path / "params.yaml").write_text(Path("params.yaml").read_text())
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_for_a_few_steps(name, digits):
    settings = study.overridden(params.load(), study.read(Path("recipes", name)))
    sizes = {"xdim", "hdim", "ydim", "n_layer"}  # the notebook's model
    assert settings.model.model_dump(include=sizes).items() <= DEFAULT["model"].items()
    few = study.overridden(settings, ["train.epochs=1", "model.hdim=16"])
    study.study(name, few, seeds=1)
    (run,) = json.loads(Path(f"benchmarks/results/study-{name}.json").read_text())["runs"]
    assert 0.05 < run["heldout_accuracy"][0] < 1
    assert run["train_loss"][0] < 2.5


def test_a_recipe_that_is_no_list_of_overrides_is_refused(tmp_path):
    for text in ("train.lr=1", "-S", "-S train.lr=1 train.seed=2"):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(study.StudyError, match="bad: expected `-S KEY=VALUE`, got "):
            study.read(tmp_path / "bad")


def test_a_study_goes_on_with_the_next_seed_and_never_mixes_parameters(digits):
    tiny = ["train.epochs=1", "model.hdim=8", "prepare.valid_size=100"]
    settings = study.overridden(params.load(), tiny)
    path = Path("benchmarks/results/trials/study-x.json")
    study.study("x", settings, seeds=1)
    first = json.loads(path.read_text())
    assert (first["heldout"], first["heldout_images"]) == ("valid", 100)
    study.study("x", settings, seeds=2)
    both = json.loads(path.read_text())["runs"]
    assert both[0] == first["runs"][0]
    assert both[1]["train_loss"] != both[0]["train_loss"]
    other = study.overridden(settings, ["train.lr=1"])
    with pytest.raises(study.StudyError, match=r"study-x.json: of other parameters"):
        study.study("x", other, seeds=3)
    assert json.loads(path.read_text())["runs"] == both


def test_the_race_goes_on_until_the_notebooks_way_is_there(digits):
    """Each epoch is answered by a whole run of the recipe."""
    epochs, runs = race.race(Path("data/raw"), target=0.3, n=1400)
    assert len(epochs) == len(runs) >= 1
    reached = [epoch["test_accuracy"] >= 0.3 for epoch in epochs]
    assert reached == [False] * (len(epochs) - 1) + [True]
    found = race.summary(epochs, runs)
    assert 0 < found["ratio"]["training_and_evaluating"] < found["ratio"]["training"]
    assert found["fast"]["mean"] > 0.1


@pytest.mark.slow
def test_a_sweep_is_queued_run_and_read_back(tmp_path):
    project = create(tmp_path / "project", TINY | {"data": {"name": "digits"}})
    overrides = ["train.epochs=1", "prepare.valid_size=100"]
    found = sweep.sweep(project.path, overrides, (12, 4))
    assert found.hdim.tolist() == [4, 12]
    assert found.parameters.tolist() == [594, 2146]
    assert found.valid_accuracy.between(0.02, 1).all()
    assert found.seconds.between(1, 300).all()
    sweep.draw(found, tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").stat().st_size > 5000


def test_the_table_of_recipes_is_that_of_the_studies():
    studies = recipes.results(recipes.RESULTS)
    assert studies
    trials = recipes.trials(recipes.RESULTS / "trials", recipes.parameters())
    shown = {
        "README.md": recipes.table(studies),
        "benchmarks/README.md": trials,
    }
    for name, table in shown.items():
        readme = Path(name).read_text()
        assert f"{recipes.BEGIN}{table}{recipes.END}" in readme
    for name, found in studies.items():
        overrides = study.read(Path("recipes", name))
        default = params.Params.model_validate(DEFAULT)
        now = study.overridden(default, overrides).model_dump()
        assert found["params"] == now  # what was measured is what the recipe says
        assert found["heldout"] == "test"
        figures = study.summary(found["runs"])
        assert {key: found[key] for key in figures} == figures


def test_the_readme_tells_the_epochs_of_the_recipe_notebook():
    runs = recipes.results(recipes.RESULTS)["notebook"]["runs"]
    by_epoch = zip(*(run["heldout_accuracy"] for run in runs), strict=True)
    percent = [[100 * accuracy for accuracy in epoch] for epoch in by_epoch]
    words = [f"{mean(epoch):.1f} ± {stdev(epoch):.1f}" for epoch in percent]
    told = f"`notebook`'s five epochs reach {', '.join(words[:-1])} and {words[-1]}%"
    assert told in " ".join(Path("README.md").read_text().split())


def test_the_readme_shows_the_committed_figures():
    readme = Path("README.md").read_text()
    shown = re.findall(r"<!-- make bench: (speed-.*json) -->", readme)
    assert "speed-cpu-avx512-2core.json" in shown
    for name in shown:
        assert bench.with_table(readme, bench.RESULTS / name) == readme
    assert readme.count("| training, an epoch |") == len(shown)
