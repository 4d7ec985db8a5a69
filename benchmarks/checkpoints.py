"""What the checkpoints of `train` cost: ``python benchmarks/checkpoints.py``.

Trains the model of params.yaml on ``data/prepared/`` with checkpoints and without, turn by
turn in one process, and writes ``benchmarks/results/checkpoints-<machine>.json``. Two
figures: the ratio of the medians (it has the machine's noise in it), and the share of the
time that was spent in `Keeper.tick` and `Keeper.save`.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch

from mnist_lstm import checkpoint, device, model, params, tensors, training

STEPS = 30  # in a turn


class TimedKeeper(checkpoint.Keeper):
    """Adds up the seconds that saving takes."""

    seconds = 0.0
    saves = 0

    def tick(self) -> None:
        """Do as ever, by the clock."""
        start = time.perf_counter()
        super().tick()
        self.seconds += time.perf_counter() - start

    def save(self) -> None:
        """Do as ever, and count."""
        super().save()
        self.saves += 1


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=11, help="of each kind")
    parser.add_argument("--machine", default=platform.machine(), help="in the file's name")
    arguments = parser.parse_args()

    settings = params.load()
    device.make_deterministic(settings.train.seed)
    on = device.select(settings.train.device)
    precision = device.precision(settings.train.precision, on)
    split = tensors.load(Path("data/prepared/train.safetensors"), on)
    device.keep_memory()
    sizes = settings.model.model_dump()
    classifier = model.LSTMClassifier(**sizes, precision=precision).to(on)
    run = training.Run(classifier, settings.train, settings.augment)
    n = STEPS * settings.train.batch_size

    def turn(tick: object) -> float:
        some = split.take(torch.randperm(len(split))[:n].to(on))
        run.order, run.losses, run.epoch = None, [], 1
        start = time.perf_counter()
        training.train_epoch(run, some, tick)
        return time.perf_counter() - start

    seconds = {"without": [], "with": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        TimedKeeper(Path(folder) / "checkpoints", "key", run) as keeper,
    ):
        turn(lambda: None)  # warm-up
        for i in range(arguments.turns):
            ways = {"without": lambda: None, "with": keeper.tick}
            for name in list(ways)[:: -1 if i % 2 else 1]:
                seconds[name].append(turn(ways[name]))
                print(f"{name:8} {seconds[name][-1]:.2f} s for {STEPS} steps", flush=True)
        costs = []
        for _ in range(20):
            start = time.perf_counter()
            keeper.save()
            costs.append(time.perf_counter() - start)
        size = max(path.stat().st_size for path in keeper.folder.iterdir())

    medians = {name: statistics.median(values) for name, values in seconds.items()}
    result = {
        "machine": device.describe(on, precision),
        "model": sizes,
        "batch_size": settings.train.batch_size,
        "turns": arguments.turns,
        "steps_in_a_turn": STEPS,
        "median_seconds": medians,
        "spread_seconds": {
            name: max(values) - min(values) for name, values in seconds.items()
        },
        "ratio_of_medians": medians["with"] / medians["without"],
        "checkpoints": keeper.saves - len(costs),
        "share_of_time": keeper.seconds / sum(seconds["with"]),
        "median_seconds_a_checkpoint": statistics.median(costs),
        "bytes_a_checkpoint": size,
    }
    path = Path("benchmarks/results") / f"checkpoints-{arguments.machine}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
