"""A recipe over several seeds: ``python benchmarks/study.py NAME [-S KEY=VALUE ...]``.

Trains on the files in ``data/raw/`` once for each seed, with params.yaml, the overrides in
``recipes/NAME`` where there is such a file (``--recipe`` names another), and those named
here. With ``-S prepare.valid_size=5000`` it is judged on the split that is held out, as it
must be where something is chosen; else on the test split.

After each seed it writes ``benchmarks/results/study-NAME.json``, in ``trials/`` where it is
judged on a split held out: accuracy by epoch, and over the seeds the mean, spread, best,
worst and a 95% interval of the mean. A study that was stopped goes on with the next seed.
"""

import argparse
import json
import shlex
import statistics
import time
from pathlib import Path

import torch
import yaml

from mnist_lstm import device, errors, evaluation, model, params, preparation, training
from mnist_lstm.tensors import Split

RESULTS = Path("benchmarks/results")
# Student's t, two-sided 95%, by degrees of freedom
T95 = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


class StudyError(errors.UserError):
    """A study that cannot go on where it was; says why."""


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", help="of the study: its file's")
    parser.add_argument("-S", dest="overrides", action="append", default=[])
    parser.add_argument("--recipe", help="if not that of the study's name")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    recipe = Path("recipes", arguments.recipe or arguments.name)
    overrides = read(recipe) if arguments.recipe or recipe.exists() else []
    settings = overridden(params.load(), overrides + arguments.overrides)
    study(arguments.name, settings, arguments.seeds)


def read(recipe: Path) -> list[str]:
    """Return the KEY=VALUE of each `-S` in the file ``recipe``."""
    words = shlex.split(recipe.read_text())
    if words[::2] != ["-S"] * (len(words) // 2):
        raise StudyError(f"{recipe}: expected `-S KEY=VALUE`, got {' '.join(words)}")
    return words[1::2]


def overridden(settings: params.Params, overrides: list[str]) -> params.Params:
    """Return ``settings`` with each KEY=VALUE of ``overrides``.

    Raises:
        ParamsError: no such parameter, or a value that does not fit.
    """
    values = settings.model_dump()
    for override in overrides:
        key, _, value = override.partition("=")
        section, _, leaf = key.partition(".")
        values.setdefault(section, {})[leaf] = yaml.load(value, params.Loader)
    return params.check(values, "-S")


def study(name: str, settings: params.Params, seeds: int) -> None:
    """Train with each seed that has no result yet, and write what came out."""
    device.make_deterministic(0)
    on = device.select(settings.train.device)
    precision = device.precision(settings.train.precision, on)
    train, test = preparation.read(Path("data/raw"))
    splits = preparation.hold_out(train, settings.prepare.valid_size, settings.prepare.seed)
    heldout = "valid" if "valid" in splits else "test"
    pair = [split.to(on) for split in (splits["train"], splits.get("valid", test))]
    device.keep_memory()
    about = {
        "params": settings.model_dump(),
        "train_images": len(pair[0]),
        "heldout": heldout,
        "heldout_images": len(pair[1]),
    }
    folder = RESULTS / "trials" if heldout == "valid" else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"study-{name}.json"
    runs = done(path, about)
    for seed in range(len(runs), seeds):
        machine = device.describe(on, precision)
        found = {"seed": seed, "machine": machine} | run(
            settings, seed, on, precision, *pair
        )
        runs.append(found)
        path.write_text(json.dumps(about | summary(runs) | {"runs": runs}, indent=2) + "\n")
        accuracy, seconds = found["heldout_accuracy"][-1], sum(found["seconds"])
        print(f"{name}, seed {seed}: {accuracy:.4f} in {seconds:.0f} s", flush=True)


def done(path: Path, about: dict) -> list[dict]:
    """Return the runs that ``path`` holds already.

    Raises:
        StudyError: they are of other parameters or data.
    """
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    if about != {key: found[key] for key in about}:
        raise StudyError(f"{path}: of other parameters; remove it, or name another study")
    return found["runs"]


def run(
    settings: params.Params,
    seed: int,
    on: torch.device,
    precision: str,
    train: Split,
    heldout: Split,
) -> dict:
    """Return losses, held-out accuracy and seconds of training by epoch."""
    device.make_deterministic(seed)
    sizes = settings.model.model_dump()
    classifier = model.LSTMClassifier(**sizes, precision=precision).to(on)
    seeded = settings.train.model_copy(update={"seed": seed})
    job = training.Run(classifier, seeded, settings.augment)
    job.epoch = 1
    names = ("train_loss", "heldout_loss", "heldout_accuracy", "seconds")
    by_epoch = {name: [] for name in names}
    while job.epoch <= settings.train.epochs:
        start = time.perf_counter()
        by_epoch["train_loss"].append(training.train_epoch(job, train, lambda: None))
        by_epoch["seconds"].append(time.perf_counter() - start)
        score = evaluation.score(evaluation.logits(job.averaged, heldout), heldout.labels)
        by_epoch["heldout_loss"].append(score.loss)
        by_epoch["heldout_accuracy"].append(score.accuracy)
        job.end_epoch({})
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
    errors.run(main)
