"""What a trial of `tools/sweep.py` costs beside its stages.

    python benchmarks/sweep_overhead.py

In a clone of HEAD, with a stage that does nothing, it runs a sweep of 9, one at a time,
and takes the medians of the time from one trial's end to the next. Beside it: `dvc exp run`
alone, 8 times. Prints seconds; writes nothing.
"""

import os
import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter

from mnist_lstm.plumbing import script

TRIALS = 9
STAGE = """
stages:
  download:
    cmd: mkdir -p data/raw && touch data/raw/nothing
    params: [data.name]
    outs: [data/raw]
  nothing:
    cmd: 'true'
    params: [train.seed]
"""


def main() -> None:
    """Time both and print a line."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        run(Path(), "git", "clone", "--quiet", ".", str(clone))
        (clone / "dvc.yaml").write_text(STAGE)
        run(clone, "git", "rm", "--quiet", "--ignore-unmatch", "dvc.lock")
        run(clone, "git", "remote", "remove", "origin")
        run(clone, "git", "commit", "--quiet", "--all", "--message", "Nothing to do")
        sweep = ["python", "tools/sweep.py", "-S", f"train.seed=range(1,{TRIALS + 1})"]
        whole = run(clone, *sweep, "--cpus-each", str(os.cpu_count()))
        logs = (clone / ".dvc/tmp/sweep/logs").iterdir()
        ends = sorted(log.stat().st_mtime for log in logs)
        alone = [
            run(clone, "dvc", "exp", "run", "-S", f"train.seed={seed}")
            for seed in range(100, 99 + TRIALS)
        ]
    trial = median(after - before for before, after in pairwise(ends))
    print(
        f"a trial that does nothing takes {trial:.1f} s, `dvc exp run` alone "
        f"{median(alone):.1f} s; all else, once, {whole - TRIALS * trial:.0f} s"
    )


def run(folder: Path, *command: str) -> float:
    """Run ``command`` and return its seconds."""
    start = perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - start


if __name__ == "__main__":
    script.run(main)
