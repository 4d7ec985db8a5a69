"""The pages' pictures, links and commands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDERS = ("docs", "benchmarks", "own")
PAGES = [Path("README.md"), *(page for f in FOLDERS for page in Path(f).glob("*.md"))]


def test_the_picture_of_the_pipeline_has_the_arrows_of_dvc():
    dvc = [sys.executable, "-m", "dvc", "dag", "--mermaid"]
    drawn = subprocess.run(dvc, check=True, capture_output=True, text=True).stdout
    name = dict(re.findall(r'(node\d+)\["(\w+)"\]', drawn))  # not own/train.dvc
    drawn = [
        pair for pair in re.findall(r"(node\d+)-->(node\d+)", drawn) if pair[0] in name
    ]
    arrows = {(name[a], name[b]) for a, b in drawn}
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
    assert len(links) > 10
    gone = [
        (page, file, anchor)
        for page, file, anchor in links
        if not (to := page.parent / file if file else page).exists()
        or (anchor and anchor not in anchors(to))
    ]
    assert gone == []


def blocks(page):
    """Return the lines of the page's commands, and those of its last list."""
    inline = r"`((?:TRAIN_WORKERS=\S+ dvc exp run|make review) [^`]+)`"
    text = page.read_text().partition("<!-- mine -->")[0]  # test_mine.py runs the rest
    found = re.finditer(rf"```bash\n(.*?)\n *```|{inline}", text, re.DOTALL)
    return [line for block in found for line in (block[1] or block[2]).splitlines()]


def test_a_shell_that_knows_no_comments_takes_the_commands():
    """As the zsh of macOS, where they are typed."""
    assert [line for page in PAGES for line in blocks(page) if "#" in line] == []


@pytest.mark.long
def test_the_commands_of_the_readme_run_in_their_order(before):
    """On `digits`, with small sizes."""
    clone, repro, test, *commands = blocks(PAGES[0])
    assert (clone[:9], repro, test) == ("git clone", "make repro", "make test")
    assert len(commands) >= 5
    output = ""
    for command in commands:
        output += before.run("bash", "-c", command.replace("=64", "=24"))
    assert "Outputs that moved: " in output  # what make review says of what was run
