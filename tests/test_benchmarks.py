"""The benchmarks do the work that they time, and the pages show what they found."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import notebook
import recipes
import speed
from defaults import DEFAULT, TINY, model_params
from mnist_lstm.device import set_up
from mnist_lstm.evaluation import compute_logits, score
from mnist_lstm.model import LSTMClassifier
from mnist_lstm.plumbing.errors import ParamsError, UserError
from mnist_lstm.plumbing.params import Params
from mnist_lstm.training.loop import fit, start_run
from sandbox import create

NAMES = sorted(path.name for path in Path("recipes").iterdir())
DEFAULTS = Params.model_validate(DEFAULT)


def test_the_baseline_is_the_same_model():
    theirs, ours = notebook.Classifier(), LSTMClassifier(model_params())
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(3, 28, 28)
    torch.testing.assert_close(theirs(x), ours(x))


def test_both_train_in_processes_of_their_own(prepared, monkeypatch):
    """`digits`, as the real stages prepared them; what was learnt shows in the accuracy."""
    monkeypatch.chdir(prepared.path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # other tests share the cores
    result = speed.compare(1437)
    for name in ("notebook", "project"):
        found = result[name]
        untrained, *_, trained = found["test_accuracy"]
        assert trained > untrained + 0.05
        assert 0 < found["train"]["least"] <= found["train"]["median"] < found["job"]
    assert result["project"]["peak_gemm_flops"] > 1e9


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


def test_the_default_step_takes_35_gflop():
    """Counted by PyTorch, for a layer written out in products of matrices."""
    from torch.utils.flop_counter import FlopCounterMode

    n, length, q, d = 3, 4, 5, 6
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
    counted = counter.get_total_flops()
    assert speed.flop_a_step(model_params(xdim=q, hdim=d), n, length) == counted
    assert speed.flop_a_step(model_params(), 256, 28) == pytest.approx(34.7e9, rel=0.01)


def test_an_override_that_is_no_parameter_is_refused():
    assert recipes.override(DEFAULTS, ["train.lr=2e-3"]).train.lr == 2e-3
    for override in ("model.hdin=3", "modl.hdim=3", "hdim=3", "model.hdim=", "model"):
        with pytest.raises(ParamsError, match=r"^-S: mod|^-S: hdim is not a parameter"):
            recipes.override(DEFAULTS, [override])


def test_what_differs_is_enough_to_repeat_a_run():
    overrides = recipes.read_recipe("record")
    params = recipes.override(DEFAULTS, [*overrides, "train.seed=7", "train.lr=1.5e-7"])
    told = recipes.differences(params, DEFAULTS)
    again = recipes.override(DEFAULTS, told)
    assert again.train.model_copy(update={"seed": 7}) == params.train
    assert again.augment == params.augment
    assert recipes.differences(DEFAULTS, DEFAULTS) == []


@pytest.fixture
def digits(prepared, tmp_path, monkeypatch):
    """A copy of the project with `digits` downloaded, as the working directory."""
    sandbox = prepared.copy(tmp_path / "project")
    monkeypatch.chdir(sandbox.path)
    recipes.RUNS.write_text(f"{','.join(recipes.COLUMNS)}\n")
    return sandbox


def run_recipe(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["recipes.py", *arguments])
        recipes.main()


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_learns_in_a_few_steps(name, digits):
    changes = ["train.epochs=2", "train.batch_size=64", "model.hdim=32"]
    run_recipe(name, "--seeds", "1", *[word for c in changes for word in ("-S", c)])
    (run,) = recipes.read_runs().to_dict("records")
    params = recipes.override(
        recipes.committed_params(), [*recipes.read_recipe(name), *changes]
    )
    compute = set_up("cpu", "auto", 0)
    model = start_run(params.model, params.train, params.augment, compute).model
    test = recipes.read_data(params)["test"]
    assert run["loss"] < score(compute_logits(model, test), test.labels).loss
    sizes = {"xdim", "ydim"}
    assert params.model.model_dump(include=sizes).items() <= DEFAULT["model"].items()


def test_the_recipes_train_the_notebooks_model():
    for name in NAMES:
        model = recipes.override(DEFAULTS, recipes.read_recipe(name)).model
        sizes = model.model_dump(include={"xdim", "hdim", "ydim", "n_layer"})
        assert sizes.items() <= DEFAULT["model"].items()


def test_a_recipe_that_is_no_list_of_overrides_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("recipes").mkdir()
    for text in ("train.lr=1", "-S", "-S train.lr=1 train.seed=2"):
        Path("recipes/bad").write_text(text)
        with pytest.raises(UserError, match="bad: expected `-S KEY=VALUE`, got "):
            recipes.read_recipe("bad")


def test_runs_go_on_with_the_next_seed_and_never_mix_parameters(digits):
    tiny = ("-S", "train.epochs=1", "-S", "prepare.valid_size=100")
    run_recipe("notebook", "--seeds", "1", *tiny)
    first = recipes.RUNS.read_text()
    run_recipe("notebook", "--seeds", "2", *tiny)
    run_recipe("notebook", "--seeds", "1", *tiny, "-S", "train.lr=0.02")
    assert recipes.RUNS.read_text().startswith(first)
    runs = recipes.read_runs()
    assert runs.seed.tolist() == [0, 1, 0]
    assert runs["split"].tolist() == ["valid"] * 3
    assert runs.train_loss_by_epoch.nunique() == 3
    kinds = recipes.groups(runs, "valid", recipes.committed_params())
    assert [len(group) for *_, group in kinds] == [2, 1]
    assert "train.lr=0.02" in runs.overrides[2]
    assert list(runs.columns) == list(pd.read_csv(io.StringIO(first)).columns)


def test_an_experiment_in_the_working_tree_does_not_reach_a_run(digits):
    tiny = ("-S", "train.epochs=1")
    run_recipe("notebook", "--seeds", "1", *tiny)
    digits.set_params({"model": {"hdim": 7}, "train": {"lr": 0.5}})
    run_recipe("notebook", "--seeds", "2", *tiny)
    assert recipes.read_runs().overrides.nunique() == 1
    assert recipes.committed_params().model.hdim == TINY["model"]["hdim"]


def test_another_data_set_than_the_recipes_is_refused(digits):
    with pytest.raises(UserError, match="data/raw: holds digits, needed: mnist; set data"):
        run_recipe("notebook", "-S", "data.name=mnist")
    assert recipes.read_runs().empty


def test_a_mistake_ends_in_one_line(digits):
    command = [sys.executable, "benchmarks/recipes.py", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"error: recipes/nothing: No such file or directory\n", done.stderr)


@pytest.mark.slow
def test_the_sweep_ends_in_a_table(tmp_path):
    project = create(tmp_path / "project", TINY | {"data": {"name": "digits"}})
    project.dvc("repro", "prepare")
    few = "-S model.hdim=4,12 -S prepare.valid_size=100"
    longer = "-S train.epochs=6 -S train.batch_size=32"
    project.run("bash", "-c", f"bash runs/sweep.sh {few} {longer} > sweep.csv")
    table = list(csv.DictReader((project.path / "sweep.csv").open()))
    sizes = {row["model.hdim"]: row for row in table if row["rev"] != "workspace"}
    assert {"4", "12"} <= sizes.keys()
    assert float(sizes["12"]["valid.accuracy"]) > 0.3  # untrained: about 0.1


# What the pages show.


def shown(mark: str) -> list[str]:
    """Return what stands between ``mark`` and its end, in each page that has it."""
    texts = [path.read_text() for path in speed.PAGES]
    end = mark.partition(": ")[0]
    block = rf"<!-- {re.escape(mark)} -->\n(.*?)\n<!-- {end}: end -->"
    return [found for text in texts for found in re.findall(block, text, re.DOTALL)]


def tell(sentence: str) -> None:
    """Hold that a page tells ``sentence``, and none the same with other figures."""
    pages = [" ".join(path.read_text().split()) for path in speed.PAGES]
    pattern = re.sub(r"\d[\d.]*", r"\\d[\\d.]*", re.escape(sentence).replace(r"\.", "."))
    found = [match for page in pages for match in re.findall(pattern, page)]
    assert set(found) == {sentence}


def test_the_tables_are_those_of_the_runs():
    runs = recipes.read_runs()
    tested = recipes.tested(runs, DEFAULTS)
    assert {"`notebook`", "`fast`", "`record`"} <= tested.keys()
    for mark, table in {
        "benchmarks/recipes.py": recipes.recipe_table(tested),
        "benchmarks/recipes.py: trials": recipes.trial_table(runs, DEFAULTS),
    }.items():
        found = shown(mark)
        assert found
        assert set(found) == {table}


def test_the_tables_are_those_of_the_measured_speed():
    paths = sorted(speed.RESULTS.glob("speed-*.json"))
    assert "speed-cpu-avx512-2core.json" in {path.name for path in paths}
    for path in paths:
        found = shown(f"make bench: {path.name}")
        assert found
        assert set(found) == {speed.table(json.loads(path.read_text()))}


def test_the_pages_tell_what_the_runs_say():
    told = recipes.sentences(recipes.tested(recipes.read_runs(), DEFAULTS))
    assert len(told) == 2
    for sentence in told:
        tell(sentence)


def test_the_log_tells_how_long_runs_end():
    trials = {
        tuple(differ): group
        for name, differ, group in recipes.groups(recipes.read_runs(), "valid", DEFAULTS)
        if name == "`record`" and group.epochs.iloc[0] == 20
    }
    epochs = "train.epochs=20"
    plain = trials["prepare.valid_size=5000", epochs, "augment.elastic=0"]
    elastic = trials["prepare.valid_size=5000", epochs]
    loss, train_loss = (
        recipes.by_epoch(plain, column).iloc[0]
        for column in ("loss_by_epoch", "train_loss_by_epoch")
    )
    assert loss[10:].max() - loss[10:].min() < 0.001
    tell(
        f"the validation loss stood still from the 11th epoch on ({loss[19]:.3f}) while "
        f"the training loss fell from {train_loss[10]:.3f} to {train_loss[19]:.3f}"
    )
    tell(f"it fell to the end ({elastic.loss.iloc[0]:.3f})")
    record = recipes.tested(recipes.read_runs(), DEFAULTS)["`record`"]
    test, train = (
        recipes.by_epoch(record, column).mean()
        for column in ("loss_by_epoch", "train_loss_by_epoch")
    )
    tell(
        f"From the 10th to the 40th epoch the test loss fell from {test[9]:.3f} to "
        f"{test[39]:.3f}, and the training loss ended at {train[39]:.3f}"
    )


def test_the_log_tells_what_changes_the_bits():
    path = speed.RESULTS / "reproducibility-cpu-avx512-2core.json"
    runs = {row["run"]: row for row in json.loads(path.read_text())}
    assert runs["1 thread"]["same_bits_as_first"]
    assert runs["2 threads"]["same_bits_as_first"]
    apart = runs["AVX2 at most"]["largest_difference_of_a_weight"]
    tell(f"weights differ by up to {apart:.3f} where AVX2 at most is allowed")


def test_the_log_shows_the_sweep():
    path = speed.RESULTS / "sweep-cpu-avx512-2core.csv"
    log = Path("benchmarks/LOG.md").read_text()
    for row in pd.read_csv(path).itertuples():
        cells = f"{row.hdim} | {row.parameters:,} | {row.valid_accuracy:.2%}"
        assert f"| {cells} | {row.test_accuracy:.2%} | {row.seconds:.0f} s |" in log
