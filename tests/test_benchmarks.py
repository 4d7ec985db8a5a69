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

import handwriting
import notebook
import recipes
import speed
from defaults import DEFAULT, TINY, model_params
from mnist_lstm.device import set_up
from mnist_lstm.evaluation import compute_logits, score
from mnist_lstm.model import LSTMClassifier
from mnist_lstm.plumbing.errors import ParamsError, UserError
from mnist_lstm.plumbing.params import Params
from mnist_lstm.preparation import hold_out, read_splits
from mnist_lstm.training.loop import fit, start_run
from sandbox import create

NAMES = sorted(path.name for path in Path("recipes").iterdir())
DEFAULTS = Params.model_validate(DEFAULT)
RECORDS = recipes.read_table(recipes.RECORDS)


def test_the_baseline_is_the_same_model():
    theirs, ours = notebook.Classifier(), LSTMClassifier(model_params())
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(3, 28, 28)
    torch.testing.assert_close(theirs(x), ours(x))


@pytest.mark.long
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


def test_the_clock_starts_once_the_libraries_are_loaded(prepared, monkeypatch):
    """By the fingerprint, as in the stage: a GPU's take as long as a whole job."""
    monkeypatch.chdir(prepared.path)
    called = []
    monkeypatch.setattr(speed, "clock", lambda _: called.append("clock") or 0.0)
    monkeypatch.setattr(speed.Run, "fingerprint", lambda *_: called.append("fingerprint"))
    next(speed.project_epochs(Path("data/prepared"), 60))
    assert called[:2] == ["fingerprint", "clock"]


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


def test_recipes_are_chosen_on_the_validation_split_that_is_asked_for(digits):
    changes = ["data.name=digits", "prepare.valid_size=100", "prepare.valid_split=last"]
    found = recipes.read_data(recipes.override(DEFAULTS, changes))
    train, _ = read_splits("mnist", Path("data/raw"))
    for name, split in hold_out(train, 100, 0, "last").items():
        assert torch.equal(found[name].images, split.images)


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
    tables = RECORDS, runs, recipes.read_table(recipes.TIMES)
    for mark, table in {
        "benchmarks/recipes.py": recipes.record_table(*tables, DEFAULTS),
        "benchmarks/recipes.py: trials": recipes.trial_table(runs, RECORDS, DEFAULTS),
    }.items():
        found = shown(mark)
        assert found
        assert set(found) == {table}


@pytest.mark.parametrize("name", NAMES)
def test_the_record_that_stands_is_the_recipe(name):
    last = RECORDS[RECORDS.recipe == name].iloc[-1]
    params = recipes.override(DEFAULTS, recipes.read_recipe(name))
    digits = ["data.name=digits"] if name == "digits" else []
    now = recipes.differences(recipes.override(params, digits), DEFAULTS)
    assert last.overrides.split() == now


@pytest.mark.parametrize("record", [*RECORDS.itertuples()], ids=[*RECORDS.commit])
def test_the_commit_of_a_record_has_its_recipe(record, tmp_path, monkeypatch):
    show = ["git", "show", f"{record.commit}:recipes/{record.recipe}"]
    done = subprocess.run(show, capture_output=True, text=True)
    if "invalid object name" in done.stderr:
        pytest.skip("a clone without history")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipes" / record.recipe
    path.parent.mkdir()
    path.write_text(done.stdout)
    params = recipes.override(DEFAULTS, recipes.read_recipe(record.recipe))
    data = {"data.name=digits"} if record.recipe == "digits" else set()
    assert {*recipes.differences(params, DEFAULTS)} | data == {*record.overrides.split()}


def frame(columns, *rows):
    return pd.DataFrame(rows, columns=columns.split())


def test_the_record_table_keeps_what_fell_and_marks_what_stands():
    records = frame(
        "date recipe overrides commit change",
        ("2026-01-01", "fast", "train.epochs=2", "aaaaaaa", "two epochs"),
        ("2026-01-01", "notebook", "", "ccccccc", ""),
        ("2026-01-02", "fast", "train.epochs=1 train.epoch_size=70", "bbbbbbb", "one"),
    )
    kinds = [("fast", row.overrides) for row in records.itertuples()][::2]
    runs = frame(
        "recipe overrides split images accuracy machine",
        *((*kinds[0], "test", 100, accuracy, "cpu") for accuracy in (0.97, 0.98, 0.99)),
        (*kinds[0], "valid", 90, 0.5, "cpu"),
        (*kinds[1], "test", 100, 0.99, "cpu"),
        ("notebook", "", "test", 100, 0.98, "cpu"),
    )
    times = frame(
        "overrides seconds notebook_training",
        (kinds[0][1], 30, 300),
        (kinds[0][1], 33, 300),
    )
    _, _, *rows = recipes.record_table(records, runs, times, DEFAULTS).splitlines()
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert [row[0] for row in cells] == ["`fast`", "**`fast`**", "**`notebook`**"]
    assert cells[0][1:] == [
        *("2026-01-01", "98.00% ± 1.00", "95.52% to 100.48%", "3", "200", "0.11", "cpu"),
        *("aaaaaaa", "two epochs"),
    ]
    assert cells[1][2:7] == ["99.00%", "", "1", "70", ""]
    assert cells[2][5] == "500"


def test_a_trial_is_told_by_what_differs_from_the_nearest_record():
    now = " ".join(recipes.read_recipe("fast"))
    records = frame(
        "date recipe overrides", ("2026-01-01", "fast", "train.epochs=7 train.lr=0.5")
    )
    trials = [now, f"{now} train.lr=0.25", "train.epochs=7 train.lr=0.25"]
    runs = frame("recipe overrides split", *(("fast", words, "valid") for words in trials))
    found = [kind[:2] for kind in recipes.groups(runs, "valid", DEFAULTS, records)]
    assert found == [
        ("`fast`", []),
        ("`fast`", ["train.lr=0.25"]),
        ("`fast` of 2026-01-01", ["train.lr=0.25"]),
    ]


def test_an_interval_holds_the_mean_19_times_of_20():
    generator = torch.Generator().manual_seed(0)
    drawn = 0.9 + 0.001 * torch.randn(400, 5, generator=generator, dtype=torch.double)
    ends = [recipes.interval(pd.Series(row)).split(" to ") for row in drawn.numpy()]
    held = sum(float(low[:-1]) <= 90 <= float(high[:-1]) for low, high in ends)
    assert 363 <= held <= 397  # 380 and four standard deviations of 4.4, each way


@pytest.mark.long
def test_records_are_timed_beside_the_notebook(digits, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # other tests share the cores
    kinds = ["train.epochs=1", "train.epochs=3 train.epoch_size=640"]
    header = "date,recipe,overrides,commit,change\n"
    rows = [f"2026-01-01,{n},{k},aaaaaaa,x\n" for n, k in zip("ab", kinds, strict=True)]
    recipes.RECORDS.write_text(header + "".join(rows) + "2026-01-01,c,,aaaaaaa,x\n")
    recipes.TIMES.write_text(f"{','.join(recipes.TIMED)}\n")
    run_recipe("a", "b", "--time", "--turns", "1")
    times = recipes.read_table(recipes.TIMES)
    assert times.recipe.tolist() == ["a", "b"]
    assert times.overrides.tolist() == kinds
    assert (times.seconds > 0).all()
    assert (times.notebook_training < times.notebook_job).all()
    assert times.notebook_training.nunique() == 1


def test_the_tables_are_those_of_the_measured_speed():
    paths = sorted(speed.RESULTS.glob("speed-*.json"))
    assert "speed-cpu-avx512-2core.json" in {path.name for path in paths}
    for path in paths:
        found = shown(f"make bench: {path.name}")
        assert found
        assert set(found) == {speed.table(json.loads(path.read_text()))}


def test_the_table_of_a_gpu_rounds_no_second_away_and_tells_its_memory_and_tf32():
    result = json.loads((speed.RESULTS / "speed-cpu-avx512-2core.json").read_text())
    result["project"]["train"] = {"median": 0.1234, "least": 0.1198, "most": 0.1301}
    result["project"]["precision"] = "fp32 as TF32"
    for way, used in (("notebook", 800), ("project", 600)):
        result[way]["peak_device_memory_mb"] = used
    table = speed.table(result)
    assert "| 0.123 s (0.12-0.13) |" in table
    assert "| peak memory of the GPU | 800 MB | 600 MB | 0.75 |" in table
    assert " reached in the same run in fp32 as TF32." in table


def test_the_pages_tell_what_the_runs_say():
    times = recipes.read_table(recipes.TIMES)
    told = recipes.sentences(recipes.tested(recipes.read_runs(), DEFAULTS), times)
    assert told
    for sentence in told:
        tell(sentence)


def test_the_log_tells_how_long_runs_end():
    trials = {
        tuple(differ): group
        for name, differ, group in recipes.groups(
            recipes.read_runs(), "valid", DEFAULTS, RECORDS
        )
        if name == "`record` of 2026-11-25" and group.epochs.iloc[0] == 20
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


def test_what_is_misread_is_counted_and_told():
    def model(x):
        assert x.shape == (10, 28, 28)
        return torch.eye(10)[[0, 7, 2, 3, 4, 5, 6, 7, 8, 9]]

    wrong = handwriting.misread(model, handwriting.drawing, 2)
    assert handwriting.told("drawn", 20, wrong) == "drawn: 18 of 20, 2 x 1 as 7"


def test_drawings_differ_by_seed_and_are_the_same_each_time():
    once = [handwriting.drawing(8, seed) for seed in range(3)]
    assert len(set(once)) == 3
    assert once == [handwriting.drawing(8, seed) for seed in range(3)]
