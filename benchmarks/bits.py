"""What changes the bits of a result: ``python benchmarks/bits.py``.

Trains the model of params.yaml on scikit-learn's digits, each time by `stages/train.py` in
a process of its own: twice the same, then with other numbers of threads and with the
instructions of older processors. Writes ``benchmarks/results/bits-<machine>.json``: whether
the weights are the same bits as the first run's, how far they are apart, and the accuracy.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import safetensors.torch
import yaml

ROOT = Path(__file__).parent.parent
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
SSE = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
RUNS = {
    "first": {},
    "again": {},
    "1 thread": {"OMP_NUM_THREADS": "1"},
    "2 threads": {"OMP_NUM_THREADS": "2"},
    "AVX2 at most": AVX2,
    "SSE4.1 at most": SSE,
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--machine", default=platform.machine(), help="in the file's name")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for name in ("src", "stages"):
            (project / name).symlink_to(ROOT / name)
        values = yaml.safe_load((ROOT / "params.yaml").read_text())
        values["data"]["name"] = "digits"
        (project / "params.yaml").write_text(yaml.safe_dump(values))
        for stage in ("download", "prepare"):
            run(project, stage)
        first = None
        for name, env in RUNS.items():
            shutil.rmtree(project / "models", ignore_errors=True)
            machine = run(project, "train", **env).splitlines()[0]
            content = (project / "models/model.safetensors").read_bytes()
            weights = safetensors.torch.load(content)
            first = first or weights
            apart = max(float((weights[k] - first[k]).abs().max()) for k in first)
            history = pd.read_csv(project / "plots/history.csv")
            rows.append(
                {
                    "run": name,
                    "machine": machine,
                    "sha256": hashlib.sha256(content).hexdigest()[:16],
                    "same_bits_as_first": apart == 0,
                    "largest_difference_of_a_weight": apart,
                    "test_accuracy": history.heldout_accuracy.iloc[-1],
                }
            )
            print(rows[-1], flush=True)
    path = ROOT / f"benchmarks/results/bits-{arguments.machine}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n")


def run(project: Path, stage: str, **env: str) -> str:
    """Run a stage in ``project``; return what it printed."""
    return subprocess.run(
        [sys.executable, f"stages/{stage}.py"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": "src"} | env,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


if __name__ == "__main__":
    main()
