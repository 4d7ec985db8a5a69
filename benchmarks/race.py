"""The recipe `fast` against the notebook's way: ``python benchmarks/race.py``.

Both take turns, each in a process of its own: an epoch of the notebook's way, then the
whole recipe with another seed; until the notebook's way reaches the 98.3% on the test split
that the notebook ends with. Writes ``benchmarks/results/race-<machine>.json``.

The timers bracket training, from the first batch to the last update; of the notebook's way
also the whole with the accuracies on both splits after each epoch, by which it knows that
it is there.
"""

import json
import statistics
from pathlib import Path

import torch

import bench
import ways
from mnist_lstm import errors

TARGET = 0.983
MOST = 12  # epochs


def main() -> None:
    """Run the race."""
    theirs, ours = race(Path("data/raw"), TARGET)
    result = {"torch": torch.__version__, "cpu": bench.cpu()} | bench.cuda()
    result |= summary(theirs, ours)
    path = bench.RESULTS / f"race-{bench.machine()}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["ratio"], indent=2))


def race(raw: Path, target: float, n: int | None = None) -> tuple[list[dict], list[dict]]:
    """Return the notebook's epochs to ``target``, and a run of `fast` for each."""
    epochs, runs = [], []
    with (
        ways.Way(ways.notebook, raw, n) as notebook,
        ways.Way(ways.recipe, "fast", raw, n) as fast,
    ):
        notebook.ask("turn")  # the untrained model is judged
        while len(epochs) < MOST and not (epochs and epochs[-1]["test_accuracy"] >= target):
            epochs.append(notebook.ask("turn"))
            runs.append(fast.ask("turn"))
            print(f"notebook {epochs[-1]}\nfast     {runs[-1]}", flush=True)
    return epochs, runs


def summary(epochs: list[dict], runs: list[dict]) -> dict:
    """Return what each took, and the ratios of fast to the notebook's way."""
    fast = statistics.median(run["train"] for run in runs)
    training = sum(epoch["train"] for epoch in epochs)
    whole = training + sum(epoch["evaluate"] for epoch in epochs)
    return {
        "notebook": {
            "epochs": len(epochs),
            "test_accuracy": [epoch["test_accuracy"] for epoch in epochs],
            "training": training,
            "training_and_evaluating": whole,
        },
        "fast": {
            "test_accuracy": [run["test_accuracy"] for run in runs],
            "mean": statistics.mean(run["test_accuracy"] for run in runs),
            "training": [run["train"] for run in runs],
            "median": fast,
        },
        "ratio": {"training": fast / training, "training_and_evaluating": fast / whole},
    }


if __name__ == "__main__":
    errors.run(main)
