"""Size is a feature: what is added pays for itself, or something else goes.

Whoever raises a limit says in the commit what its users gain. Whoever cuts lowers it.
"""

import subprocess
from pathlib import Path

import pytest

LIMITS = {
    ("src", "stages"): 7206,
    ("tools",): 2130,
    ("benchmarks",): 750,
    ("tests",): 9360,
    ("README.md",): 140,
    ("dvc.yaml",): 165,
}


def lines(*places):
    """Return how many lines of code, or of the README, each tracked file has."""
    listed = subprocess.run(["git", "ls-files", *places], capture_output=True, text=True)
    code = (".py", ".jinja", "tools/repro", *(place for place in places if "." in place))
    files = [file for file in listed.stdout.split() if file.endswith(code)]
    return {file: len(Path(file).read_text().splitlines()) for file in files}


@pytest.mark.parametrize("places", LIMITS, ids=" ".join)
def test_there_is_no_more_than_is_worth_its_lines(places):
    assert 0 < sum(lines(*places).values()) <= LIMITS[places]


def test_no_file_outgrows_its_reader():
    sizes = lines("src", "stages", "tools", "benchmarks", "tests")
    assert max(sizes.values()) <= 340, max(sizes, key=sizes.get)
