"""How accurate a recipe is, over several seeds: ``python benchmarks/recipes.py NAME``.

Trains on ``data/raw/`` once a seed, with params.yaml as committed, the overrides in
``recipes/NAME`` and those of ``-S``; with ``-S prepare.valid_size=5000`` evaluates on the
validation split, as it must where something is chosen, else on the test split. Each run
adds a row to ``results/runs.csv`` as it ends; what was stopped goes on with the next seed.
Runs are of one kind if their ``overrides``, all that differs from params.yaml, are equal.
Without NAME it only writes the tables and the chart, and prints what the pages state.
"""

import argparse
import json
import shlex
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd

from mnist_lstm.datasets import DATA_SETS
from mnist_lstm.device import set_up
from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import Params, check_params, parse_yaml
from mnist_lstm.preparation import hold_out, read_splits
from mnist_lstm.splits import Split
from mnist_lstm.tables import write_csv
from mnist_lstm.training.loop import fit, start_run
from speed import RESULTS, update_pages, with_seconds

RUNS = Path("benchmarks/results/runs.csv")
COLUMNS = [
    *("recipe", "overrides", "split", "images", "seed", "epochs", "accuracy", "loss"),
    *("seconds", "machine", "torch", "date"),
    *("accuracy_by_epoch", "loss_by_epoch", "train_loss_by_epoch"),
]
TEXTS = dict.fromkeys([*COLUMNS[:2], *COLUMNS[-3:]], "")  # empty is "", not missing
EPOCHS, ERRORS = (1, 2, 5, 10, 20, 40), (0.3, 0.5, 1, 2, 5, 10)  # marked in the chart


def main() -> None:
    """Train, or write what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="?", help="a file in recipes/; without it: tables")
    parser.add_argument("-S", dest="overrides", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    default = committed_params()
    if arguments.name:
        overrides = read_recipe(arguments.name) + arguments.overrides
        train(arguments.name, override(default, overrides), default, arguments.seeds)
        return
    recipes = tested(read_runs(), default)
    update_pages("benchmarks/recipes.py", recipe_table(recipes))
    update_pages("benchmarks/recipes.py: trials", trial_table(read_runs(), default))
    draw(recipes, RUNS.with_name("recipes.png"))
    print(*sentences(recipes), sep="\n")


def train(name: str, params: Params, default: Params, seeds: int) -> None:
    """Train with each seed below ``seeds`` that has no row yet, and add its row."""
    overrides = " ".join(differences(params, default))
    splits = read_data(params)
    heldout = "valid" if "valid" in splits else "test"
    for seed in range(seeds):
        runs = read_runs()
        same = (runs.recipe == name) & (runs.overrides == overrides) & (runs.seed == seed)
        if same.any():
            continue
        seeded = params.train.model_copy(update={"seed": seed})
        compute = set_up(seeded.device, seeded.precision, seed)
        data, watched = [splits[k].to(compute.device) for k in ("train", heldout)]
        run = start_run(params.model, seeded, params.augment, compute)
        run.epoch = 1  # nobody asks for the untrained model's accuracy
        found = pd.DataFrame(with_seconds(run, fit(run, data, watched, False)))
        torch, _, machine = str(compute).removeprefix("PyTorch ").partition(" on ")
        figures = found[["heldout_accuracy", "heldout_loss", "train_loss"]]
        accuracy, loss, _ = figures.iloc[-1]
        seconds = found.seconds.sum()
        row = [name, overrides, heldout, len(data), seed, len(found), accuracy, loss]
        row += [seconds, machine, torch, date.today().isoformat()]
        row += [" ".join(map("{:.15g}".format, figures[k].round(4))) for k in figures]
        runs = pd.concat([runs, pd.DataFrame([row], columns=COLUMNS)])
        write_csv(RUNS, runs.infer_objects())  # of a first row, to know what are floats
        print(f"{name}, seed {seed}: {accuracy:.4f} in {seconds:.0f} s", flush=True)


def committed_params() -> Params:
    """Return params.yaml as committed, whatever experiment stands in the working tree."""
    show = ["git", "show", "HEAD:./params.yaml"]
    shown = subprocess.run(show, capture_output=True, text=True)
    if shown.returncode:
        raise UserError(f"{shown.stderr.strip()}; run this from the project's root")
    source = "HEAD:params.yaml"
    return check_params(parse_yaml(shown.stdout, source), source)


def read_recipe(name: str) -> list[str]:
    """Return the KEY=VALUE of each `-S` in ``recipes/name``."""
    path = Path("recipes", name)
    words = shlex.split(path.read_text())
    if words[::2] != ["-S"] * (len(words) // 2):
        raise UserError(f"{path}: expected `-S KEY=VALUE`, got {' '.join(words)}")
    return words[1::2]


def override(params: Params, overrides: list[str]) -> Params:
    """Return ``params`` with each KEY=VALUE; ParamsError for one that does not fit."""
    values = params.model_dump()
    for word in overrides:
        key, _, value = word.partition("=")
        section, _, leaf = key.partition(".")
        values.setdefault(section, {})[leaf] = parse_yaml(value, "-S")
    return check_params(values, "-S")


def differences(params: Params, other: Params) -> list[str]:
    """Return KEY=VALUE where ``params`` differ from ``other``, but for the seed."""
    before = other.model_dump()
    return [
        f"{section}.{leaf}=" + (f"{v:.15g}" if isinstance(v, float) else str(v))
        for section, leaves in params.model_dump().items()
        for leaf, v in leaves.items()
        if v != before[section][leaf] and (section, leaf) != ("train", "seed")
    ]


def read_data(params: Params) -> dict[str, Split]:
    """Return the splits of ``data/raw/``; refuse another data set, by what DVC recorded."""
    lock: Any = parse_yaml(Path("dvc.lock").read_text(), "dvc.lock")
    found = lock["stages"]["download"]["params"]["params.yaml"]["data.name"]
    if params.data.name not in DATA_SETS:
        raise UserError(f"data.name: recipes are compared on {', '.join(DATA_SETS)} only")
    if found != params.data.name:
        advice = "set data.name in params.yaml and run `dvc repro download`"
        raise UserError(f"data/raw: holds {found}, needed: {params.data.name}; {advice}")
    train, test = read_splits(Path("data/raw"), DATA_SETS[found].classes)
    return {"test": test} | hold_out(train, params.prepare.valid_size, params.prepare.seed)


def read_runs() -> pd.DataFrame:
    """Return the runs so far, a row each."""
    return pd.read_csv(RUNS, dtype=dict.fromkeys(TEXTS, str)).fillna(TEXTS)


def groups(
    runs: pd.DataFrame, split: str, default: Params
) -> Iterator[tuple[str, list[str], pd.DataFrame]]:
    """Yield what to call runs of one kind, what differs from their recipe, the runs."""
    runs = runs[runs["split"] == split]
    for (name, overrides), group in runs.groupby(COLUMNS[:2], sort=False):
        params = override(default, overrides.split())
        data = params.data.name
        recipe = override(default, [*read_recipe(name), f"data.name={data}"])
        title = f"`{name}`" + (f" on `{data}`" if data != default.data.name else "")
        yield title, differences(params, recipe), group


def tested(runs: pd.DataFrame, default: Params) -> dict[str, pd.DataFrame]:
    """Return the runs on the test split of each recipe as it is now."""
    return {t: group for t, differ, group in groups(runs, "test", default) if not differ}


def recipe_table(recipes: dict[str, pd.DataFrame]) -> str:
    """Return a row for each recipe, as Markdown."""
    head = "recipe | test accuracy, mean and standard deviation | worst to best | seeds"
    rows = [f"| {head} | epochs | training | on |", "|---|---|---|---|---|---|---|"]
    for title, runs in recipes.items():
        worst, best = runs.accuracy.min(), runs.accuracy.max()
        seconds = runs.seconds.median()
        took = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
        machines = "; ".join(sorted(set(runs.machine)))
        rows.append(
            f"| {title} | {percent(runs.accuracy)} | {worst:.2%} to {best:.2%} "
            f"| {len(runs)} | {runs.epochs.iloc[0]} | {took} | {machines} |"
        )
    return "\n".join(rows)


def trial_table(runs: pd.DataFrame, default: Params) -> str:
    """Return a row for each trial on a validation split, as Markdown, the best first."""
    head = "epochs | recipe | what differs from it | validation accuracy | loss | seeds"
    rows = [f"| {head} |", "|---|---|---|---|---|---|"]
    trials = list(groups(runs, "valid", default))
    trials.sort(key=lambda t: (" on " in t[0], t[2].epochs.iloc[0], -t[2].accuracy.mean()))
    for title, changes, group in trials:
        words = [word.partition(".")[2] for word in changes]
        shown = [f"`{w}`" for w in words if not w.startswith(("valid_size=", "epochs="))]
        loss = "" if group.loss.isna().any() else f"{group.loss.mean():.4f}"
        rows.append(
            f"| {group.epochs.iloc[0]} | {title} | {', '.join(shown) or 'nothing'} "
            f"| {percent(group.accuracy)} | {loss} | {len(group)} |"
        )
    return "\n".join(rows)


def percent(accuracy: pd.Series) -> str:
    """Return a mean, and from three seeds on the standard deviation."""
    spread = f" ± {100 * accuracy.std():.2f}" if len(accuracy) > 2 else ""
    return f"{accuracy.mean():.2%}{spread}"


def by_epoch(runs: pd.DataFrame, column: str = "accuracy_by_epoch") -> pd.DataFrame:
    """Return a figure of each run (rows) after each epoch (columns)."""
    return runs[column].str.split(expand=True).astype(float)


def sentences(recipes: dict[str, pd.DataFrame]) -> list[str]:
    """Return what the pages say of ``recipes`` outside of tables."""
    fast, percents = recipes["`fast`"], 100 * by_epoch(recipes["`notebook`"])
    figures = zip(percents.mean(), percents.std(), strict=True)
    *first, last = [f"{mean:.1f} ± {deviation:.1f}" for mean, deviation in figures]
    told = [f"`notebook`'s five epochs reach {', '.join(first)} and {last}%"]
    for path in sorted(RESULTS.glob("speed-*.json")):
        speed = json.loads(path.read_text())
        if speed["project"]["machine"].endswith(f" on {fast.machine.iloc[0]}"):
            seconds, theirs = fast.seconds.median(), speed["notebook"]
            told.append(
                f"`fast` trains in {seconds / (5 * theirs['train']['median']):.2f} of the "
                "time in which the original notebook trains its five epochs, and in "
                f"{seconds / theirs['job']:.2f} of it with their evaluations"
            )
    return told


def draw(recipes: dict[str, pd.DataFrame], path: Path) -> None:
    """Draw mean and spread of the errors after each epoch, by the images of MNIST seen."""
    mpl.use("agg")
    figure, panel = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for title in [title for title in recipes if " on " not in title]:
        runs = recipes[title]
        errors = 100 * (1 - by_epoch(runs))
        seen = runs.images.iloc[0] * (errors.columns + 1)
        label = f"{title.strip('`')} ({len(runs)} seeds)"
        (line,) = panel.plot(seen, errors.mean(), marker="o", ms=4, label=label)
        panel.vlines(seen, errors.min(), errors.max(), color=line.get_color(), alpha=0.5)
    panel.set(xlabel="images seen, in thousands", xscale="log")
    panel.set(ylabel="test errors, %", yscale="log")
    panel.minorticks_off()
    panel.set_xticks([n * 60_000 for n in EPOCHS], [f"{n * 60:,}" for n in EPOCHS])
    panel.set_yticks(ERRORS, map(str, ERRORS))
    panel.grid(alpha=0.3)
    panel.legend(frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    script.run(main)
