"""A training setup over several seeds: ``python benchmarks/study.py NAME [KEY=VALUE ...]``.

Trains on ``data/prepared/`` with params.yaml and the overrides that are named, as
``train.precision=fp32``, once for each seed. After each seed it writes
``benchmarks/results/study-NAME.json``: accuracy on the held-out split by epoch, and over
the seeds the mean, spread, best, worst and a 95% interval of the mean. A study that was
stopped goes on with the next seed.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import yaml

from mnist_lstm import device, evaluation, model, params, tensors, training

PREPARED = Path("data/prepared")
# Student's t, two-sided 95%, by degrees of freedom
T95 = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", help="of the study: its file's")
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE, as after dvc's -S")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()

    settings = overridden(params.load(), arguments.overrides)
    device.make_deterministic(0)
    device.keep_memory()
    on = device.select(settings.train.device)
    precision = device.precision(settings.train.precision, on)
    heldout = "valid" if (PREPARED / "valid.safetensors").exists() else "test"
    splits = [
        tensors.load(PREPARED / f"{name}.safetensors", on) for name in ("train", heldout)
    ]
    about = {
        "machine": device.describe(on, precision),
        "params": settings.model_dump(),
        "train_images": len(splits[0]),
        "heldout": heldout,
        "heldout_images": len(splits[1]),
    }
    path = Path(f"benchmarks/results/study-{arguments.name}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    for seed in range(len(runs), arguments.seeds):
        runs.append({"seed": seed} | train(settings, seed, on, precision, *splits))
        path.write_text(json.dumps(about | summary(runs) | {"runs": runs}, indent=2) + "\n")
        print(
            f"{path.stem} seed {seed}: {runs[-1]['heldout_accuracy'][-1]:.4f}", flush=True
        )


def overridden(settings: params.Params, overrides: list[str]) -> params.Params:
    """Return ``settings`` with each KEY=VALUE of ``overrides``, checked."""
    values = settings.model_dump()
    for override in overrides:
        key, value = override.split("=")
        section, leaf = key.split(".")
        values[section][leaf] = yaml.load(value, params.Loader)
    return params.Params.model_validate(values)


def train(
    settings: params.Params,
    seed: int,
    on: torch.device,
    precision: str,
    train: tensors.Split,
    heldout: tensors.Split,
) -> dict:
    """Return loss, held-out accuracy and seconds of training by epoch."""
    device.make_deterministic(seed)
    sizes = settings.model.model_dump()
    classifier = model.LSTMClassifier(**sizes, precision=precision).to(on)
    run = training.Run(classifier, settings.train.model_copy(update={"seed": seed}))
    run.epoch = 1
    by_epoch = {"train_loss": [], "heldout_accuracy": [], "seconds": []}
    while run.epoch <= settings.train.epochs:
        start = time.perf_counter()
        by_epoch["train_loss"].append(training.train_epoch(run, train, lambda: None))
        by_epoch["seconds"].append(time.perf_counter() - start)
        score = evaluation.score(evaluation.logits(classifier, heldout), heldout.labels)
        by_epoch["heldout_accuracy"].append(score.accuracy)
        run.end_epoch({})
    return by_epoch


def summary(runs: list[dict]) -> dict:
    """Return figures over the seeds, of the last epoch's accuracy."""
    last = [run["heldout_accuracy"][-1] for run in runs]
    figures = {"mean": statistics.mean(last), "best": max(last), "worst": min(last)}
    n = len(last)
    if n > 2:
        spread = statistics.stdev(last)
        half = T95.get(n - 1, 1.96) * spread / n**0.5
        figures |= {
            "standard_deviation": spread,
            "interval_95": [figures["mean"] - half, figures["mean"] + half],
        }
    figures["median_seconds_of_training"] = statistics.median(
        sum(run["seconds"]) for run in runs
    )
    return figures


if __name__ == "__main__":
    main()
