"""What changes the bits of a result: ``python benchmarks/reproducibility.py``.

Trains on `digits`, each time by `stages/train.py` in a process of its own: twice the same,
then with other numbers of threads and with the instructions of older processors. Writes
``results/reproducibility-<machine>.json``: how far the weights are from the first run's.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import pandas as pd
import safetensors.torch

from mnist_lstm.plumbing import script
from speed import RESULTS, run_in, versions

RUNS: dict[str, dict[str, str]] = {
    "first": {},
    "again": {},
    "1 thread": {"OMP_NUM_THREADS": "1"},
    "2 threads": {"OMP_NUM_THREADS": "2"},
    "AVX2 at most": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "SSE4.1 at most": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
}


def main() -> None:
    """Run the benchmark."""
    rows: list[dict] = []
    first: dict = {}
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for name in ("src", "stages"):
            (project / name).symlink_to(Path(name).resolve())
        params = Path("params.yaml").read_text().replace("name: mnist", "name: digits")
        (project / "params.yaml").write_text(params)
        for stage in ("download", "prepare"):
            run_in(project, sys.executable, f"stages/{stage}.py")
        for name, env in RUNS.items():
            printed = run_in(project, sys.executable, "stages/train.py", **env)
            content = (project / "models/model.safetensors").read_bytes()
            weights = safetensors.torch.load(content)
            first = first or weights
            apart = max(float((weights[k] - first[k]).abs().max()) for k in first)
            history = pd.read_csv(project / "plots/history.csv")
            row = {
                "run": name,
                "machine": printed.splitlines()[0],
                "sha256": hashlib.sha256(content).hexdigest()[:16],
                "same_bits_as_first": apart == 0,
                "largest_difference_of_a_weight": apart,
                "test_accuracy": history.heldout_accuracy.iloc[-1],
            }
            print(row, flush=True)
            rows.append(row)
    path = RESULTS / f"reproducibility-{versions()['machine']}.json"
    path.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    script.run(main)
