"""What users do with the pipeline, done with the real ``dvc`` in copies of the project."""

import json
import re
import time
from pathlib import Path

import pytest
import torch
import yaml

from sandbox import ran

(WAY_BACK,) = re.findall(r"^git read-tree .*", Path("README.md").read_text(), re.MULTILINE)
STAGES = ["download", "prepare", "describe", "train", "evaluate", "plot", "export"]


def test_every_stage_says_what_it_does(built):
    assert sorted(ran(built.output)) == sorted(STAGES)
    for line in (
        "train: 1,437 images of [28, 28]",
        "rnn_out [2, 20, 16]",
        "hn      [1, 2, 16]",
        "3,114 parameters",
        f"PyTorch {torch.__version__} on cpu (",
        "seed 0, deterministic algorithms only",
        "epoch   0  loss 2.3",
        "epoch   2  loss ",
    ):
        assert line in built.output
    assert "Traceback" not in built.output


def test_no_line_of_the_stages_is_wider_than_a_terminal(built):
    """But for URLs, and for what DVC says."""
    own = [
        line
        for line in built.output.splitlines()
        if "://" not in line and not line.startswith(("ERROR: ", "WARNING: "))
    ]
    assert [line for line in own if len(line) > 80] == []


def test_the_history_grows_while_it_trains_and_is_always_whole(copy):
    copy.set_params({"train": {"epochs": 1000}})
    history = copy.path / "plots/history.csv"
    history.unlink()
    seen = {}
    with copy.start("python", "stages/train.py", PYTHONPATH="src") as training:
        deadline = time.monotonic() + 60
        while len(seen) < 5 and time.monotonic() < deadline and training.poll() is None:
            if history.exists():
                table = copy.table("plots/history.csv")
                seen[len(table)] = table
        training.kill()
    assert len(seen) == 5
    for n, table in seen.items():
        assert table.epoch.tolist() == list(range(n))
        assert table.notna().all(axis=None)


def test_a_second_repro_does_nothing(built):
    output = built.dvc("repro")
    assert ran(output) == []
    assert "Data and pipelines are up to date." in output
    assert built.git("status", "--porcelain") == ""


@pytest.mark.long
def test_two_clean_runs_write_the_same_bytes_whatever_the_user_set(built, tmp_path):
    """Without cache, lock or outputs; all that surrounds the second run is another."""
    clone = built.clone(tmp_path / "elsewhere" / "clone")
    for file in ["dvc.lock", *clone.git("ls-files", "metrics", "plots").split()]:
        (clone.path / file).unlink()
    style = tmp_path / "matplotlibrc"
    style.write_text(
        "axes.facecolor: red\nfont.size: 30\nfont.family: monospace\n"
        "savefig.dpi: 33\nimage.cmap: jet\naxes.formatter.use_locale: True\n"
    )
    output = clone.run(
        *("bash", "-c", "umask 077 && cd stages && dvc repro ../dvc.yaml"),
        TZ="Pacific/Kiritimati",
        LC_ALL="POSIX",  # text is ASCII, unless a program says otherwise
        PYTHONCOERCECLOCALE="0",
        PYTHONUTF8="0",
        PYTHONHASHSEED="12345",
        MATPLOTLIBRC=str(style),
        HOME=str(tmp_path),
        TMPDIR=str(tmp_path),
    )
    assert len(ran(output)) == 7
    assert (clone.path / "models/model.safetensors").stat().st_mode & 0o77 == 0
    assert clone.git("status", "--porcelain") == ""


def test_another_hidden_size_neither_downloads_nor_prepares(changed):
    assert sorted(ran(changed.output)) == [
        "describe",
        "evaluate",
        "export",
        "plot",
        "train",
    ]
    parameters = changed.diff["metrics/model.json"]["parameters"]
    assert (parameters["old"], parameters["new"]) == (3114, 5434)
    assert changed.diff["metrics/evaluate.json"]["test.accuracy"]["diff"] != 0
    metrics = [name for rows in changed.diff.values() for name in rows]
    assert sorted(metrics) == [
        "parameters",
        "test.accuracy",
        "test.loss",
        "train.accuracy",
        "train.loss",
    ]


def test_accuracy_by_class_is_that_of_the_predictions(built):
    predictions = built.table("data/predictions.csv")
    right = predictions.actual == predictions.predicted
    by_class = built.table("plots/accuracy_by_class.csv")
    assert by_class.columns.tolist() == ["class", "train", "test"]
    expected = right.groupby(predictions.actual).mean()
    assert by_class.test.tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    metrics = json.loads(built.text("metrics/evaluate.json"))
    assert metrics["test"]["accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    confusion = built.table("plots/confusion.csv")
    assert confusion.equals(predictions[["actual", "predicted"]])
    assert predictions.probability.between(0.1, 1).all()


def test_the_parameters_are_counted_by_tensor_and_by_layer(built):
    table = built.table("plots/parameters.csv").set_index("name")
    assert table.loc["rnn.weight_ih_l0", ["layer", "shape"]].tolist() == ["rnn_l0", "64x28"]
    assert table.groupby("layer")["count"].sum().to_dict() == {
        "rnn_l0": 4 * 16 * (28 + 16 + 2),
        "lin": 10 * 16 + 10,
    }
    assert json.loads(built.text("metrics/model.json")) == {"parameters": 3114}
    assert len(table.first_values["lin.weight"].split()) == 5


def test_a_reviewers_fresh_clone_diffs_the_metrics_without_cache_or_remote(
    changed, tmp_path
):
    clone = changed.clone(tmp_path / "clone")
    diff = json.loads(clone.dvc("metrics", "diff", "HEAD~1", "HEAD", "--json"))
    assert diff == changed.diff
    assert not (clone.path / ".dvc/cache").exists()


def test_plots_show_and_diff_write_their_page(changed, tmp_path):
    copy = changed.copy(tmp_path / "copy")
    for command in (["show"], ["diff", "HEAD~1", "HEAD"]):
        output = copy.dvc("plots", *command)
        assert "WARNING" not in output
        page = copy.text("dvc_plots/index.html")
        for title in ("Accuracy and loss by epoch", "Confusion on the test split"):
            assert page.count(title) == 1
        drawn = re.findall(r'src="static/[^"]*samples.png"', page)
        assert len(drawn) == (1 if command == ["show"] else 2)


@pytest.mark.long
def test_an_experiment_in_a_folder_of_its_own_leaves_the_workspace_alone(copy):
    output = copy.dvc(
        "exp", "run", "--temp", "-S", "train.lr=1e-5", "-S", "prepare.valid_size=100"
    )
    assert sorted(ran(output)) == ["evaluate", "export", "plot", "prepare", "train"]
    assert "valid: 100 images" in output
    assert "valid accuracy" in output
    assert copy.git("status", "--porcelain") == ""
    (experiment,) = experiments(copy)
    assert experiment["params"]["train"]["lr"] == 1e-5
    assert set(experiment["metrics/evaluate.json"]) == {"train", "valid", "test"}


@pytest.mark.long
def test_a_recipe_is_run_as_the_readme_says(copy):
    output = copy.run("bash", "-c", "dvc exp run $(cat recipes/fast)")
    assert {"train", "evaluate", "plot", "export"} <= set(ran(output))
    assert not {"download", "prepare"} & set(ran(output))
    settings = yaml.safe_load(copy.text("params.yaml"))
    assert settings["train"]["schedule"] == "one_cycle"
    assert settings["model"]["init"] == "keras"
    assert len(copy.table("plots/history.csv")) == 1 + settings["train"]["epochs"]


@pytest.mark.long
def test_a_queued_sweep_runs_the_code_that_was_queued(copy):
    copy.dvc("exp", "run", "--queue", "-S", "model.hdim=8,12")
    module = copy.path / "src/mnist_lstm/model.py"
    module.write_text("raise SystemExit('edited while the sweep waits')\n")
    copy.dvc("queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 300
    done = 0
    while done < 2:
        status = copy.dvc("queue", "status")
        done = status.count("Success") + status.count("Failed")
        assert time.monotonic() < deadline, status
        time.sleep(1)
    assert status.count("Success") == 2, status
    found = {
        experiment["params"]["model"]["hdim"]: experiment["metrics/model.json"][
            "parameters"
        ]
        for experiment in experiments(copy)
    }
    assert found == {8: 1306, 12: 2146}
    # Without the checksums of files, which fill a column each.
    drop = ".*/|Created|State|Executor"
    shown = copy.dvc("exp", "show", "--only-changed", "--drop", drop)
    assert max(map(len, shown.splitlines())) <= 120
    (head,) = [line.split() for line in shown.splitlines() if "Experiment" in line]
    assert head == [
        "Experiment",
        "parameters",
        "train.loss",
        "train.accuracy",
        "test.loss",
        "test.accuracy",
        "model.hdim",
    ]


@pytest.mark.long
def test_a_change_in_the_figures_only_draws(copy):
    figures = copy.path / "src/mnist_lstm/figures.py"
    figures.write_text(
        figures.read_text().replace("most confident mistakes", "worst mistakes")
    )
    before = (copy.path / "plots/mistakes.png").read_bytes()
    assert ran(copy.dvc("repro")) == ["plot"]
    assert (copy.path / "plots/mistakes.png").read_bytes() != before

    # dvc has staged dvc.lock, so the index must go back too.
    copy.run("bash", "-c", WAY_BACK)
    assert "up to date" in copy.dvc("repro")
    assert copy.git("status", "--porcelain") == ""


@pytest.mark.long
def test_a_bad_value_fails_with_its_message_and_nothing_is_lost(copy):
    output = copy.dvc("exp", "run", "-S", "train.lr=-1", ok=False)
    assert "error: params.yaml: train.lr must be a number > 0 and < 1e37, got -1" in output
    assert "Traceback" not in output
    copy.run("bash", "-c", WAY_BACK)
    assert "up to date" in copy.dvc("repro")


@pytest.mark.parametrize("stage", ["evaluate", "plot", "export"])
def test_a_model_of_other_params_is_refused(copy, stage):
    """Only where a stage runs alone: DVC would train first."""
    copy.set_params({"model": {"hdim": 17}})
    output = copy.run("python", f"stages/{stage}.py", ok=False, PYTHONPATH="src")
    (line,) = output.splitlines()
    assert line.startswith(
        "error: models/model.safetensors: holds a model of hdim 16, params.yaml asks for"
    )
    assert copy.git("status", "--porcelain") == " M params.yaml\n"


@pytest.mark.parametrize("file", ["data/prepared/test", "models/model"])
def test_a_bit_that_flips_is_found_and_dvc_repairs_it(copy, file):
    path = copy.path / f"{file}.safetensors"
    good = path.read_bytes()
    damaged = bytearray(good)
    damaged[-100] ^= 1
    path.unlink()  # it may be a link into DVC's cache
    path.write_bytes(damaged)
    output = copy.run("python", "stages/evaluate.py", ok=False, PYTHONPATH="src")
    assert output.splitlines()[-1] == (
        f"error: {file}.safetensors: damaged: it does not match its own checksum"
    )
    copy.dvc("checkout", "--force")
    assert path.read_bytes() == good
    assert "up to date" in copy.dvc("repro")


def test_predictions_that_are_cut_short_are_refused_by_name(copy):
    path = copy.path / "data/predictions.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.unlink()  # it may be a link into DVC's cache
    path.write_text("".join(lines[:100]))
    output = copy.run("python", "stages/plot.py", ok=False, PYTHONPATH="src")
    assert output == (
        "error: data/predictions.csv: 99 rows for 360 test images; the stage `evaluate` "
        "writes it\n"
    )


def test_training_that_diverges_is_one_line_and_nothing_is_lost(copy):
    output = copy.dvc("exp", "run", "-S", "train.lr=1e36", ok=False)
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: epoch ")
    assert line.endswith(": training diverged; lower train.lr (1e+36) in params.yaml")
    assert "Traceback" not in output
    assert list(copy.path.glob("checkpoints/*/0*.safetensors"))  # the last good one
    copy.run("bash", "-c", WAY_BACK)
    assert "up to date" in copy.dvc("repro")


@pytest.mark.parametrize("stage", ["describe", "train"])
def test_a_model_that_no_memory_holds_is_one_line(copy, stage):
    copy.set_params({"model": {"hdim": 65536, "n_layer": 4}, "train": {"batch_size": 999}})
    command = f"ulimit -v 16000000 && python stages/{stage}.py"
    output = copy.run("bash", "-c", command, ok=False, PYTHONPATH="src")
    line = output.splitlines()[-1]
    lower = "model.hdim (65536) or model.n_layer (4) in params.yaml"
    if stage == "train":
        lower = f"train.batch_size (999), {lower}"
    assert line == f"error: out of memory; lower {lower}"
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("key", "value", "fits"),
    [
        ("xdim", 27, "28, the width of the images in data/prepared/train.safetensors"),
        ("ydim", 3, "10, the number of classes in data/prepared/train.safetensors"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_refused_before_training(
    copy, key, value, fits
):
    copy.set_params({"model": {key: value}})
    output = copy.run("python", "stages/train.py", ok=False, PYTHONPATH="src")
    assert output.splitlines()[2:] == [
        f"error: params.yaml: model.{key} must be {fits}, got {value}"
    ]
    assert copy.git("status", "--porcelain") == " M params.yaml\n"


def test_a_misspelt_key_is_refused(copy):
    assert "model.hidm" in copy.dvc("exp", "run", "-S", "model.hidm=64", ok=False)
    copy.set_params({"model": {"hidm": 64}})
    assert "model.hidm is not a parameter, got 64 (did you mean model.hdim?)" in copy.dvc(
        "repro", ok=False
    )


def test_an_earlier_commit_needs_no_second_run(changed, tmp_path):
    copy = changed.copy(tmp_path / "copy")
    copy.git("checkout", "--quiet", "HEAD~1")
    copy.dvc("checkout")
    assert "up to date" in copy.dvc("repro")


def test_what_one_clone_pushes_another_pulls(built, tmp_path):
    owner = built.copy(tmp_path / "owner")
    owner.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    owner.commit("A remote")
    owner.dvc("push")
    colleague = owner.clone(tmp_path / "colleague")
    colleague.dvc("pull")
    assert "up to date" in colleague.dvc("repro")
    assert (colleague.path / "models/model.safetensors").exists()


def experiments(project):
    """Return params and metrics of each experiment that ``dvc exp show`` shows."""
    shown = json.loads(project.dvc("exp", "show", "--json"))
    found = []
    for commit in shown:
        for experiment in commit.get("experiments") or []:
            (revision,) = experiment["revs"]
            data = revision["data"]
            metrics = {path: metric["data"] for path, metric in data["metrics"].items()}
            found.append({"params": data["params"]["params.yaml"]["data"], **metrics})
    return found
