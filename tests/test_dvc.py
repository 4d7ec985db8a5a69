"""What users do with the pipeline, done with the real ``dvc`` in copies of the project."""

import json
import re
from pathlib import Path

import pytest
import torch

from sandbox import ran

(WAY_BACK,) = re.findall(r"^git read-tree .*", Path("README.md").read_text(), re.MULTILINE)
STAGES = ["download", "prepare", "describe", "train", "evaluate", "plot", "export"]


def test_every_stage_says_what_it_does_and_a_second_repro_does_nothing(built):
    assert sorted(ran(built.output)) == sorted(STAGES)
    for line in (
        "train: 1,437 images of [28, 28]",
        "rnn_out [2, 20, 16]",
        "3,114 parameters",
        f"PyTorch {torch.__version__} on cpu (",
        "epoch   0  loss 2.3",
        "epoch   2  loss ",
    ):
        assert line in built.output
    assert [line for line in built.output.splitlines() if len(line) > 80] == []
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
def test_plots_diff_writes_its_page(changed, tmp_path):
    copy = changed.copy(tmp_path / "copy")
    assert "WARNING" not in copy.dvc("plots", "diff", "HEAD~1", "HEAD")
    page = copy.text("dvc_plots/index.html")
    for title in ("Accuracy and loss by epoch", "Confusion on the test split"):
        assert page.count(title) == 1
    assert len(re.findall(r'src="static/[^"]*samples.png"', page)) == 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("lr", "told"),
    [
        (-1, r"params.yaml: train.lr must be greater than 0, got -1"),
        (1e36, r"epoch .*: training diverged; lower train.lr \(1e\+36\) in params.yaml"),
    ],
)
def test_an_experiment_that_fails_is_one_line_and_nothing_is_lost(copy, lr, told):
    output = copy.dvc("exp", "run", "-S", f"train.lr={lr}", ok=False)
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert re.fullmatch(f"error: {told}", line)
    assert "Traceback" not in output
    copy.run("bash", "-c", WAY_BACK)
    assert "up to date" in copy.dvc("repro")
