"""The pages' claims against what the pipeline wrote."""

import io
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import recipes

FOLDERS = ("docs", "benchmarks", "own")
PAGES = [Path("README.md"), *(page for f in FOLDERS for page in Path(f).glob("*.md"))]


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


def test_the_picture_of_the_pipeline_has_the_arrows_of_dvc():
    dvc = [sys.executable, "-m", "dvc", "dag", "--mermaid"]
    drawn = subprocess.run(dvc, check=True, capture_output=True, text=True).stdout
    name = dict(re.findall(r'(node\d+)\["(\w+)"\]', drawn))
    arrows = {(name[a], name[b]) for a, b in re.findall(r"(node\d+)-->(node\d+)", drawn)}
    (shown,) = re.findall(r"```mermaid\n(.*?)\n```", PAGES[0].read_text(), re.DOTALL)
    assert set(re.findall(r"(\w+) --> (\w+)", shown)) == arrows
    assert set(re.findall(r"\w+", shown)) - {"flowchart", "LR"} == set(name.values())


def anchors(page):
    """Return GitHub's anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}


def test_every_link_leads_somewhere():
    """But for those to other sites and to GitHub's own pages of a repository."""
    links = [
        (page, *link.partition("#")[::2])
        for page in PAGES
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text())
        if "://" not in link and not (page == PAGES[0] and link.startswith("../../"))
    ]
    assert len(links) > 30
    gone = [
        (page, file, anchor)
        for page, file, anchor in links
        if not (to := page.parent / file if file else page).exists()
        or (anchor and anchor not in anchors(to))
    ]
    assert gone == []


def test_the_core_has_as_many_lines_as_the_readme_says():
    (claim,) = re.findall(r"\*\*Read the core.*?\.\n", PAGES[0].read_text(), re.DOTALL)
    files = re.findall(r"\]\(([^)]+)\)", claim)
    lines = sum(len(Path(file).read_text().splitlines()) for file in files)
    assert "about 1,000 lines" in claim
    assert len(files) == 8
    assert 850 < lines < 1150


def test_the_first_picture_is_the_page_that_reads_a_digit():
    file = re.findall(r"!\[[^]]+\]\((\w[^):]+)\)", PAGES[0].read_text())[0]
    with Image.open(file) as picture:
        assert picture.n_frames > 30
    assert Path(file).stat().st_size < 2**20


def blocks(page):
    """Return the lines of the page's commands, and those of its last list."""
    inline = r"`((?:TRAIN_WORKERS=\S+ dvc exp run|make review) [^`]+)`"
    found = re.finditer(rf"```bash\n(.*?)\n *```|{inline}", page.read_text(), re.DOTALL)
    return [line for block in found for line in (block[1] or block[2]).splitlines()]


def test_a_shell_that_knows_no_comments_takes_the_commands():
    """As the zsh of macOS, where they are typed."""
    assert [line for page in PAGES for line in blocks(page) if "#" in line] == []


@pytest.mark.long
def test_the_commands_of_the_readme_run_in_their_order(copy):
    """On `digits`, with small sizes; where Ray is missing, without the sweep."""
    clone, repro, test, *commands = blocks(PAGES[0])
    assert (clone[:9], repro, test) == ("git clone", "make repro", "make test")
    assert len(commands) == 9
    (copy.path / ".venv").mkdir()
    copy.run("bash", "-c", "cksum <requirements.txt >.venv/installed")
    copy.run("bash", "-c", "cksum <requirements-scale.txt >.venv/scale")
    output = ""
    for command in commands:
        if not find_spec("ray") and re.search("sweep|valid|NAME", command):
            continue
        small = command.replace("=16,32,64,128", "=12").replace("=5000", "=100")
        best = re.findall(r"dvc exp apply (\S+)", output)
        small = small.replace("NAME", "".join(best)).replace("=64", "=24")
        output += copy.run("bash", "-c", small)
    assert "Outputs that moved: " in output  # what make review says of what was run


def test_the_accuracy_of_the_default_is_that_of_its_seeds_and_of_the_committed_run():
    runs = recipes.read_table(recipes.RUNS)
    page = " ".join(PAGES[0].read_text().split())
    for precision, seeds in (("fp32", "five seeds"), ("bf16", "three seeds")):
        test = runs[(runs["split"] == "test") & runs.machine.str.endswith(f"{precision})")]
        percent = 100 * test[test.recipe == "notebook"].accuracy
        name = {"fp32": "float32", "bf16": "bfloat16"}[precision]
        told = f"{percent.mean():.1f} ± {percent.std():.1f}%"
        assert re.search(rf"{told}( on the test set)? in {name} \({seeds}\)", page)
        assert len(percent) == {"five seeds": 5, "three seeds": 3}[seeds]
    found = json.loads(committed("metrics/evaluate.json"))["test"]["accuracy"]
    assert f"The committed run, seed 0 in bfloat16, has {found:.2%}" in page
    digits = runs[(runs.recipe == "digits") & (runs["split"] == "test")].accuracy
    least, most = f"{digits.min():.1%}", f"{digits.max():.1%}"
    assert f"reaches {least} to {most} on its 360\n" in Path("tools/repro").read_text()
