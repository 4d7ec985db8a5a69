"""What users do with the pipeline, done with the real ``dvc`` in copies of the project."""

import json
import re
from pathlib import Path

import pytest
import torch

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
    assert [line for line in built.output.splitlines() if len(line) > 80] == []


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


@pytest.mark.long
def test_another_hidden_size_neither_downloads_nor_prepares_and_a_clone_shows_it(
    changed, tmp_path
):
    """A reviewer's fresh clone, without cache or remote."""
    assert sorted(ran(changed.output)) == sorted(set(STAGES) - {"download", "prepare"})
    parameters = changed.diff["metrics/model.json"]["parameters"]
    assert (parameters["old"], parameters["new"]) == (3114, 5434)
    assert changed.diff["metrics/evaluate.json"]["test.accuracy"]["diff"] != 0
    scores = ["test.accuracy", "test.loss", "train.accuracy", "train.loss"]
    assert sorted(changed.diff["metrics/evaluate.json"]) == scores
    clone = changed.clone(tmp_path / "clone")
    diff = json.loads(clone.dvc("metrics", "diff", "HEAD~1", "HEAD", "--json"))
    assert diff == changed.diff
    assert not (clone.path / ".dvc/cache").exists()


@pytest.mark.long
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
def test_a_bad_value_fails_with_its_message_and_nothing_is_lost(copy):
    output = copy.dvc("exp", "run", "-S", "train.lr=-1", ok=False)
    assert "error: params.yaml: train.lr must be greater than 0, got -1" in output
    assert "Traceback" not in output
    copy.run("bash", "-c", WAY_BACK)
    assert "up to date" in copy.dvc("repro")


@pytest.mark.long
def test_training_that_diverges_is_one_line_and_nothing_is_lost(copy):
    output = copy.dvc("exp", "run", "-S", "train.lr=1e36", ok=False)
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: epoch ")
    assert line.endswith(": training diverged; lower train.lr (1e+36) in params.yaml")
    assert "Traceback" not in output
    assert list(copy.path.glob("checkpoints/*/0*.safetensors"))  # the last good one
    copy.run("bash", "-c", WAY_BACK)
    assert "up to date" in copy.dvc("repro")


@pytest.mark.long
def test_a_model_that_no_memory_holds_is_one_line(copy):
    copy.set_params({"model": {"hdim": 65536, "n_layer": 4}, "train": {"batch_size": 999}})
    command = "ulimit -v 16000000 && python stages/train.py"
    output = copy.run("bash", "-c", command, ok=False, PYTHONPATH="src")
    lower = "train.batch_size or model.hdim or model.n_layer in params.yaml"
    assert output.splitlines()[-1] == f"error: out of memory; lower {lower}"


def test_a_model_that_does_not_fit_the_data_is_refused_before_training(copy):
    copy.set_params({"model": {"xdim": 27, "ydim": 3}})
    output = copy.run("python", "stages/train.py", ok=False, PYTHONPATH="src")
    of = "in data/prepared/train.safetensors"
    assert output.splitlines()[-2:] == [
        f"error: params.yaml: model.xdim must be 28, the width of the images {of}, got 27",
        f"params.yaml: model.ydim must be 10, the number of classes {of}, got 3",
    ]
    assert copy.git("status", "--porcelain") == " M params.yaml\n"


@pytest.mark.long
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
