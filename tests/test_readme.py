"""The README's claims against what the pipeline wrote."""

import io
import re
import subprocess
from pathlib import Path

import pandas as pd


def committed(file):
    """Return ``file`` as committed, whatever experiment stands in the working tree."""
    show = ["git", "show", f"HEAD:{file}"]
    return subprocess.run(show, check=True, capture_output=True, text=True).stdout


def test_the_result_table_is_the_committed_run():
    history = pd.read_csv(io.StringIO(committed("plots/history.csv")))
    rows = re.findall(r"^\| (\d|untrained) \|(.*)\|$", committed("README.md"), re.MULTILINE)
    assert len(rows) == len(history) == 6
    for (_, cells), row in zip(rows, history.itertuples(), strict=True):
        _, loss, _, train, _, test = (cell.strip() for cell in cells.split("|"))
        assert loss in ("", f"{row.train_loss:.3f}")
        assert train == f"{row.train_accuracy:.3f}"
        assert test == f"{row.heldout_accuracy:.3f}"


def test_every_file_that_it_names_exists():
    links = re.findall(r"\]\(([^)]+)\)", Path("README.md").read_text())
    local = [link.partition("#")[0] for link in links if "://" not in link]
    assert len(local) > 10
    assert [link for link in local if not Path(link).exists()] == []
