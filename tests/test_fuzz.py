"""Whatever a file holds, it is read or refused: no crash, no wait, no lack of memory."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("n", [300, pytest.param(50_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("target", ["params", "pictures", "tables", "tensorfile"])
def test_files_of_every_kind_are_read_or_refused(target, n):
    result = subprocess.run(
        [sys.executable, f"tests/fuzz/{target}.py", str(n)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    print(f"{target}: {result.stdout}", end="")
    fed, _, accepted, *_ = result.stdout.replace(",", "").split()
    assert int(fed) >= n
    assert 0 < int(accepted) < n
