"""What a trial of `tools/sweep.py` costs beside its stages.

    python benchmarks/sweep_overhead.py

In a clone of HEAD, with a stage that does nothing, it times sweeps of 2 and of 8, one
trial at a time: their difference is what trials take, the rest the start. Beside it:
`dvc exp run` alone, 6 times. Prints seconds; writes nothing.
"""

import os
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter

from mnist_lstm.plumbing import script

FEW, MANY = 2, 8
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
        few, many = sweep(clone, 0, FEW), sweep(clone, FEW, FEW + MANY)
        alone = [
            run(clone, "dvc", "exp", "run", "--force", "-S", f"train.seed={seed}")
            for seed in range(100, 100 + MANY - FEW)
        ]
    trial = (many - few) / (MANY - FEW)
    print(
        f"a trial that does nothing takes {trial:.1f} s, `dvc exp run` alone "
        f"{sum(alone) / len(alone):.1f} s; Ray, planning and the clone, once, "
        f"{few - FEW * trial:.1f} s"
    )


def sweep(clone: Path, first: int, end: int) -> float:
    """Return the seconds of a sweep over seeds, one at a time."""
    seeds = f"train.seed=range({first},{end})"
    return run(
        clone, "python", "tools/sweep.py", "-S", seeds, "--cpus-each", str(os.cpu_count())
    )


def run(folder: Path, *command: str) -> float:
    """Run ``command`` and return its seconds."""
    start = perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - start


if __name__ == "__main__":
    script.run(main)
