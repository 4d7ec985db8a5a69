"""What the pages say of MNIST, against the records and what the pipeline wrote."""

import io
import json
import re
import subprocess
from pathlib import Path

import pandas as pd

import recipes
from defaults import DEFAULT
from mnist_lstm.plumbing.params import parse_yaml

README = Path("README.md")


def committed(file):
    """Return ``file`` as committed, whatever experiment stands in the working tree."""
    show = ["git", "show", f"HEAD:{file}"]
    return subprocess.run(show, check=True, capture_output=True, text=True).stdout


def test_the_table_of_epochs_is_the_committed_run():
    history = pd.read_csv(io.StringIO(committed("plots/history.csv")))
    page = committed("docs/notebook.md")
    rows = re.findall(r"^\| (\d|untrained) \|(.*)\|$", page, re.MULTILINE)
    assert len(rows) == len(history) == 6
    for (_, cells), row in zip(rows, history.itertuples(), strict=True):
        _, loss, _, train, _, test = (cell.strip() for cell in cells.split("|"))
        assert loss in ("", f"{row.train_loss:.3f}")
        assert train == f"{row.train_accuracy:.3f}"
        assert test == f"{row.heldout_accuracy:.3f}"


def test_the_core_has_as_many_lines_as_the_readme_says():
    (claim,) = re.findall(r"\*\*Read the core.*?\.\n", README.read_text(), re.DOTALL)
    files = re.findall(r"\]\(([^)]+)\)", claim)
    lines = sum(len(Path(file).read_text().splitlines()) for file in files)
    assert "about 1,000 lines" in claim
    assert len(files) == 8
    assert 850 < lines < 1150


def test_the_accuracy_of_the_default_is_that_of_its_seeds_and_of_the_committed_run():
    runs = recipes.read_table(recipes.RUNS)
    page = " ".join(README.read_text().split())
    for precision, name in (("fp32", "float32"), ("bf16", "bfloat16")):
        test = runs[(runs["split"] == "test") & runs.machine.str.endswith(f"{precision})")]
        percent = 100 * test[test.recipe == "notebook"].accuracy
        told = f"{percent.mean():.1f} ± {percent.std():.1f}%"
        assert re.search(rf"{told}( on the test set)? in {name} \(five seeds\)", page)
        assert len(percent) == 5
    found = json.loads(committed("metrics/evaluate.json"))["test"]["accuracy"]
    assert f"The committed run, seed 0 in bfloat16, has {found:.2%}" in page
    digits = runs[(runs.recipe == "digits") & (runs["split"] == "test")].accuracy
    least, most = f"{digits.min():.1%}", f"{digits.max():.1%}"
    assert f"reaches {least} to {most} on its 360\n" in Path("tools/repro").read_text()


def test_the_committed_defaults_are_what_the_tests_start_from():
    """Whatever experiment stands in the working tree."""
    assert parse_yaml(committed("params.yaml"), "params.yaml") == DEFAULT
