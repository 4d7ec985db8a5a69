"""What a training step costs on several workers: ``python benchmarks/workers.py``.

Steps of the default model, for numbers of shards and of workers in turn, so that a slow
minute falls on all. Prints medians and writes ``results/workers-<machine>.json``: seconds,
and bytes that a worker receives in a step.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
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
    """Measure every pair, a few rounds of them."""
    if "SHARDS" in os.environ:
        found_here = measure(int(os.environ["SHARDS"]))
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(found_here))
        return
    rows = []
    for _ in range(ROUNDS):
        for shards, workers in PAIRS:
            rows.append({"shards": shards, "workers": workers} | run(shards, workers))
            print(rows[-1], flush=True)
    found = pd.DataFrame(rows).groupby(["shards", "workers"], sort=False).median()
    print(found.assign(to_one=found.step / found.step.iloc[0]).round(3))
    result = speed.versions() | {"rows": found.reset_index().to_dict("records")}
    path = speed.RESULTS / f"workers-{result['machine']}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")


def run(shards: int, workers: int) -> dict:
    """Return what the first of ``workers`` processes measured."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    launch.append(f"--nproc-per-node={workers}")
    command = [sys.executable, *(launch if workers > 1 else []), __file__]
    env = os.environ | {"SHARDS": str(shards), "OMP_NUM_THREADS": "1", "PYTHONPATH": "src"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(shards: int) -> dict:
    """Take some steps as one of the workers; return seconds a step, and of gathering."""
    params = load_params()
    train = params.train.model_copy(update={"shards": shards})
    workers = join_workers(train)
    torch.set_num_threads(1)  # one shard, too: to compare with
    compute = set_up("cpu", train.precision, 0)
    run = start_run(params.model, train, params.augment, compute, workers)
    run.epoch, run.steps = 1, STEPS + 1
    run.model.train()
    x, y = torch.rand(train.batch_size, 28, 28), torch.arange(train.batch_size) % 10
    waited: list[float] = []
    gather = type(workers).gather

    def timed(self: object, part: torch.Tensor) -> torch.Tensor:
        start = time.perf_counter()
        whole = gather(workers, part)
        waited.append(time.perf_counter() - start)
        return whole

    type(workers).gather = timed  # type: ignore[method-assign]
    steps = []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        run.end_step(run.step(x, y))
        steps.append(time.perf_counter() - start)
    gradient = sum(values.numel() for values in run.model.parameters()) + 1
    others = shards - shards // workers.count
    return {
        "step": median(steps[1:]),
        "gather": median(waited[1:]) if waited else 0.0,
        "received": 4 * gradient * others,
    }


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    script.run(main, alone="SHARDS" not in os.environ)
