"""What a training step costs on several workers: ``python benchmarks/workers.py``.

Steps of the default model, for numbers of shards and of workers in turn, so that a slow
minute falls on all. Prints medians and writes ``results/workers-<machine>.json``.
"""

import json
import os
import subprocess
import sys
import time
from statistics import median

import pandas as pd
import torch

import speed
from mnist_lstm.device import set_up
from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.params import load_params
from mnist_lstm.training.distributed import join_workers
from mnist_lstm.training.loop import start_run

PAIRS = [(1, 1), (4, 1), (4, 2), (4, 4), (8, 1), (8, 2), (8, 4)]  # shards, workers
STEPS, ROUNDS = 6, 3


def main() -> None:
    """Measure every pair, a few rounds of them; or be one of the workers."""
    if "SHARDS" in os.environ:
        seconds = measure(int(os.environ["SHARDS"]))
        if os.environ.get("RANK", "0") == "0":
            print(seconds)
        return
    rows = []
    for _ in range(ROUNDS):
        for shards, workers in PAIRS:
            seconds = run(shards, workers)
            rows.append({"shards": shards, "workers": workers, "step": seconds})
            print(rows[-1], flush=True)
    found = pd.DataFrame(rows).groupby(["shards", "workers"], sort=False).median()
    print(found.assign(to_one=found.step / found.step.iloc[0]).round(3))
    result = speed.versions() | {"rows": found.reset_index().to_dict("records")}
    path = speed.RESULTS / f"workers-{result['machine']}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")


def run(shards: int, workers: int) -> float:
    """Return what the first of ``workers`` processes measured."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    launch.append(f"--nproc-per-node={workers}")
    command = [sys.executable, *(launch if workers > 1 else []), __file__]
    env = os.environ | {"SHARDS": str(shards), "OMP_NUM_THREADS": "1", "PYTHONPATH": "src"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def measure(shards: int) -> float:
    """Take some steps as one of the workers; return the median of their seconds."""
    params = load_params()
    train = params.train.model_copy(update={"shards": shards})
    workers = join_workers(train)
    torch.set_num_threads(1)  # one shard, too: to compare with
    compute = set_up("cpu", train.precision, 0)
    step = speed.training_step(
        start_run(params.model, train, params.augment, compute, workers)
    )
    seconds = []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


if __name__ == "__main__":
    script.run(main, alone="SHARDS" not in os.environ)
