"""How accurate a recipe is, over several seeds: ``python benchmarks/recipes.py NAME ...``.

Trains on ``data/raw/`` or ``own/`` once a seed, with params.yaml as committed, what is in
``recipes/NAME`` and what ``-S`` says. With ``-S prepare.valid_size=5000`` it evaluates on
the validation split, as it must where something is chosen, else on the test split. Each
run adds a row to ``results/runs.csv`` as it ends, with every parameter that it ran with:
runs of equal ``params`` are of one kind. What was stopped goes on with the next seed.

``results/records.csv`` names the kinds of runs that were the best of their recipe: a row
each, by hand, with the ``params`` of the runs and the commit that has the recipe. Without
NAME all tables are written into the pages, those of `speed.py`, too. ``--steps`` first
times a training step of each model, for the last column of their table.
"""

import argparse
import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import pandas as pd
import torch

import speed
from mnist_lstm.data import own
from mnist_lstm.data.datasets import OWN
from mnist_lstm.data.preparation import hold_out, read_splits
from mnist_lstm.data.scaling import standardise
from mnist_lstm.data.splits import Split
from mnist_lstm.device import set_up
from mnist_lstm.models.base import make_model
from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.params import Params, check_params, parse_yaml
from mnist_lstm.runs import (
    add,
    in_full,
    interval,
    markdown,
    missing,
    of_kind,
    override,
    read,
    read_recipe,
    read_table,
    spell,
    summary,
)
from mnist_lstm.training.loop import fit, start_run

RUNS, RECORDS = (Path(f"benchmarks/results/{name}.csv") for name in ("runs", "records"))
# Recipes of each model: of five epochs, and of one with `fast`'s optimizer.
MODELS = {
    "LSTM": ("notebook", "fast"),
    "GRU": ("gru", "gru_fast"),
    "Transformer": ("transformer", "transformer_fast"),
}
STEPS = speed.RESULTS / "models-cpu-avx512-2core.json"
PHONE = ["recipe", "test accuracy", "95% interval", "seeds", "examples seen", "time"]


def main() -> None:
    """Train, or write the tables of what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="files in recipes/; without them: tables")
    parser.add_argument("-S", dest="overrides", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", action="store_true", help="time a step of each model")
    arguments = parser.parse_args()
    for name in arguments.names:
        overrides = read_recipe(name) + arguments.overrides
        train_seeds(name, override(committed_params(), overrides), arguments.seeds)
    if arguments.steps:
        seconds = time_steps([five for five, _ in MODELS.values()])
        found = speed.versions() | {"seconds": seconds}
        STEPS.write_text(json.dumps(found, indent=2) + "\n")
    if not arguments.names:
        write_tables(read_table(RUNS), read_table(RECORDS))


def train_seeds(name: str, params: Params, seeds: int) -> None:
    """Train with each seed below ``seeds`` that has no row yet, and add its row."""
    kind = {"recipe": name, "params": in_full(params.model_dump())}
    splits = read_data(params)
    for seed in missing(RUNS, kind, seeds):
        row = train(params, splits, seed)
        add(RUNS, kind | row)
        print(f"{name}, seed {seed}: {row['accuracy']:.4f} in {row['seconds']:.0f} s")


def train(params: Params, splits: dict[str, Split], seed: int) -> dict[str, Any]:
    """Train once; return what came out, by column."""
    seeded = params.train.model_copy(update={"seed": seed})
    compute = set_up(seeded.device, seeded.precision, seed)
    heldout = "valid" if "valid" in splits else "test"
    data, watched = [splits[k].to(compute.device) for k in ("train", heldout)]
    run = start_run(params.model, seeded, params.augment, compute)
    run.epoch = 1  # nobody asks for the untrained model's accuracy
    epochs = pd.DataFrame(
        speed.with_seconds(run, fit(run, data, watched, evaluate_train=False))
    )
    epochs.columns = epochs.columns.str.removeprefix("heldout_")
    torch, _, machine = str(compute).removeprefix("PyTorch ").partition(" on ")
    row = {"split": heldout, "images": len(data), "seed": seed, "epochs": len(epochs)}
    row |= {"seconds": epochs.seconds.sum(), "machine": machine, "torch": torch}
    row |= {"date": date.today().isoformat(), **epochs.iloc[-1][["accuracy", "loss"]]}
    for name in ("accuracy", "loss", "train_loss"):
        row[f"{name}_by_epoch"] = " ".join(f"{v:.15g}" for v in epochs[name].round(4))
    return row


def time_steps(names: Sequence[str], turns: int = 20) -> dict[str, float]:
    """Return the median seconds of a training step of each recipe; they take turns.

    Seconds of CPU time on one thread: other work on the machine takes none of them.
    """
    torch.set_num_threads(1)
    steps = {}
    for name in names:
        params = override(committed_params(), read_recipe(name))
        compute = set_up(params.train.device, params.train.precision, seed=0)
        run = start_run(params.model, params.train, params.augment, compute)
        steps[name] = speed.training_step(run)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns + 2):
        for name, step in steps.items():
            start = process_time()
            step()
            if turn > 1:  # the first warm up
                seconds[name].append(process_time() - start)
    return {name: round(median(found), 4) for name, found in seconds.items()}


def committed_params() -> Params:
    """Return params.yaml as committed, whatever experiment stands in the working tree."""
    show = ["git", "show", "HEAD:./params.yaml"]
    shown = subprocess.run(show, stdout=subprocess.PIPE, text=True, check=True).stdout
    return check_params(parse_yaml(shown, "params.yaml"), "params.yaml")


def read_data(params: Params) -> dict[str, Split]:
    """Return the splits of ``data/raw/`` or ``own/``, which must hold the data set."""
    prepare = params.prepare
    if params.data.name == OWN:
        train, test = own.read_splits(Path("own"), prepare)
    else:
        train, test = read_splits(params.data.name, Path("data/raw"))
    heldout = hold_out(train, prepare.valid_size, prepare.seed, prepare.valid_split)
    splits = standardise({"test": test} | heldout, prepare.missing)
    return {name: replace(s, labels=s.labels.long()) for name, s in splits.items()}


def write_tables(runs: pd.DataFrame, records: pd.DataFrame) -> None:
    """Write every table into the pages that have a place for it."""
    table = pd.DataFrame([record_row(record, runs) for record in records.itertuples()])
    stands = ~records.recipe.duplicated(keep="last")
    is_own = records.params.str.contains(f"data.name={OWN} ")
    is_lstm = records.params.str.contains("model.name=lstm ")
    bold = table.recipe.mask(stands, "**" + table.recipe + "**")
    tables = {
        "": table[stands & is_lstm & ~is_own][PHONE],
        ": sequences": table[stands & is_own][PHONE],
        ": models": model_table(runs, records[stands]),
        ": records": table.assign(recipe=bold),
    }
    for mark, rows in tables.items():
        text = markdown(rows.to_dict("records"))
        speed.update_pages(f"benchmarks/recipes.py{mark}", text)
    speed.write_tables()


def record_row(record: Any, runs: pd.DataFrame) -> dict[str, Any]:
    """Return what the tables tell of a record, by its runs on the test split."""
    kind = {"recipe": record.recipe, "params": record.params, "split": "test"}
    found = of_kind(runs, kind)
    n, most = found.images.iloc[0], int(read(record.params)["train.epoch_size"])
    seconds = found.seconds.median()
    return {
        "recipe": f"`{record.recipe}`",
        **summary(found.accuracy, "test accuracy"),
        "examples seen": f"{min(most or n, n) * found.epochs.iloc[0]:,}",
        "time": f"{seconds / 60:.0f} min" if seconds >= 100 else f"{seconds:.0f} s",
        "of the notebook's": record.of_notebook,
        "on": "; ".join(sorted(set(found.machine))),
        "date": record.date,
        "commit": record.commit,
        "what changed": record.change,
    }


def model_table(runs: pd.DataFrame, standing: pd.DataFrame) -> pd.DataFrame:
    """Return what the table of the models tells, by runs on the test split in bfloat16."""
    speeds = json.loads(STEPS.read_text())["seconds"]
    records = dict(zip(standing.recipe, standing.params, strict=True))
    tested = runs[(runs["split"] == "test") & runs.machine.str.endswith("bf16)")]
    rows = []
    for model, (five, one) in MODELS.items():
        params = override(committed_params(), records[five].split())
        weights = make_model(params.model).parameters()
        row = {"model": model, "parameters": f"{sum(p.numel() for p in weights):,}"}
        for name, told in ((five, "five epochs"), (one, "one epoch")):
            asked = tested.params.map(in_bf16) == in_bf16(records[name])
            accuracy = tested[asked & (tested.recipe == name)].accuracy
            around = interval(accuracy).rstrip("%")
            row[f"{told} (95% interval)"] = f"{accuracy.mean():.2%} ({around})"
        row["images/s a core"] = f"{params.train.batch_size / speeds[five]:,.0f}"
        rows.append(row)
    return pd.DataFrame(rows)


def in_bf16(words: str) -> str:
    """Return parameters in full, with the precision that `auto` is there."""
    return spell(read(words) | {"train.precision": "bf16"})


if __name__ == "__main__":
    script.run(main)
