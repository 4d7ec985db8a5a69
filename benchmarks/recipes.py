"""How accurate a recipe is, over several seeds: ``python benchmarks/recipes.py NAME ...``.

Trains on ``data/raw/`` once a seed, with params.yaml as committed, the overrides in
``recipes/NAME`` and those of ``-S``; with ``-S prepare.valid_size=5000`` evaluates on the
validation split, as it must where something is chosen, else on the test split. Each run
adds a row to ``results/runs.csv`` as it ends; what was stopped goes on with the next seed.
Runs are of one kind if their ``overrides``, all that differs from params.yaml, are equal.

``results/records.csv`` names the kinds of runs that were the best of their recipe: a row
each, by hand, with the commit that has the recipe. ``NAME ... --time`` trains those of each
NAME and the original notebook, in turn, and adds medians to ``results/times.csv``.
Without NAME it only writes the tables and the chart, and prints what the pages state.
"""

import argparse
import multiprocessing
import shlex
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from scipy import stats

from mnist_lstm.datasets import OWN
from mnist_lstm.device import set_up
from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import Params, check_params, parse_yaml
from mnist_lstm.preparation import hold_out, read_splits
from mnist_lstm.splits import Split
from mnist_lstm.tables import write_csv
from mnist_lstm.training.loop import fit, start_run
from speed import next_turn, notebook_epochs, update_pages, with_seconds

RUNS, RECORDS, TIMES = (
    Path("benchmarks/results", f"{name}.csv") for name in ("runs", "records", "times")
)
COLUMNS = [
    *("recipe", "overrides", "split", "images", "seed", "epochs", "accuracy", "loss"),
    *("seconds", "machine", "torch", "date"),
    *("accuracy_by_epoch", "loss_by_epoch", "train_loss_by_epoch"),
]
TEXTS = dict.fromkeys([*COLUMNS[:2], *COLUMNS[-3:]], "")  # empty is "", not missing
TIMED = [
    *("date", "recipe", "overrides", "seconds", "notebook_training", "notebook_job"),
    *("turns", "machine", "torch"),
]
NOTEBOOK = 5  # epochs in which the original notebook reaches its accuracy
# marked in the chart
EPOCHS, ERRORS = (0.25, 0.5, 1, 2, 5, 10, 20, 40), (0.3, 0.5, 1, 2, 5, 10)


def main() -> None:
    """Train, time, or write what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="files in recipes/; without them: tables")
    parser.add_argument("-S", dest="overrides", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--time", action="store_true", help="beside the original notebook")
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    default = committed_params()
    if arguments.time:
        time_records(arguments.names, arguments.turns)
        return
    for name in arguments.names:
        overrides = read_recipe(name) + arguments.overrides
        train(name, override(default, overrides), default, arguments.seeds)
    if arguments.names:
        return
    runs, records, times = read_runs(), read_table(RECORDS), read_table(TIMES)
    recipes = tested(runs, default)
    table = record_table(records, runs, times, default)
    update_pages("benchmarks/recipes.py", table)
    update_pages("benchmarks/recipes.py: trials", trial_table(runs, records, default))
    draw(recipes, default, RUNS.with_name("recipes.png"))
    print(*sentences(recipes, times), sep="\n")


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
        runs = pd.concat([read_runs(), pd.DataFrame([row], columns=COLUMNS)])
        write_csv(RUNS, runs.infer_objects())  # of a first row, to know what are floats
        print(f"{name}, seed {seed}: {accuracy:.4f} in {seconds:.0f} s", flush=True)


def time_records(names: list[str], turns: int) -> None:
    """Train all records of ``names`` and the original notebook in turn; add their medians.

    Each in a process of its own, an epoch a turn.
    """
    records = read_table(RECORDS)
    records = records[records.recipe.isin(names)]
    work: list[tuple] = [(notebook_epochs, Path("data/raw"), None)]
    work += [(timed_epochs, overrides) for overrides in records.overrides]
    spawn = multiprocessing.get_context("spawn")
    processes = [ProcessPoolExecutor(1, spawn) for _ in work]
    found: list[list[dict]] = [[] for _ in work]
    for turn in range(turns + 1):  # in the first, the notebook trains nothing
        order = range(len(work)) if turn % 2 else reversed(range(len(work)))
        for i in order:
            found[i].append(processes[i].submit(next_turn, *work[i]).result())
            print(f"turn {turn} {found[i][-1]}", flush=True)
    for process in processes:
        process.shutdown()
    theirs, *ours = [turned[1:] for turned in found]
    training = NOTEBOOK * median(turn["train"] for turn in theirs)
    job = training + NOTEBOOK * median(turn["evaluate"] for turn in theirs)
    rows = []
    for record, turned in zip(records.itertuples(), ours, strict=True):
        torch, _, machine = turned[0]["about"].removeprefix("PyTorch ").partition(" on ")
        seconds = median(turn["train"] for turn in turned)
        figures = [round(value, 2) for value in (seconds, training, job)]
        kind = [date.today().isoformat(), record.recipe, record.overrides]
        rows.append([*kind, *figures, turns, machine, torch])
    times = pd.concat([read_table(TIMES), pd.DataFrame(rows, columns=TIMED)])
    write_csv(TIMES, times.infer_objects())


def timed_epochs(overrides: str) -> Iterator[dict]:
    """Train a run's first epoch, again and again; yield what all of its epochs take."""
    params = override(committed_params(), overrides.split())
    splits = read_data(params)
    while True:
        train = params.train
        compute = set_up(train.device, train.precision, train.seed)
        data, watched = [splits[k].to(compute.device) for k in ("train", "test")]
        run = start_run(params.model, train, params.augment, compute)
        run.epoch = 1
        row = next(with_seconds(run, fit(run, data, watched, False)))
        yield {"train": row["seconds"] * train.epochs, "about": str(compute)}


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
    if params.data.name == OWN:
        raise UserError("data.name: recipes are compared on public data sets only")
    if found != params.data.name:
        advice = "set data.name in params.yaml and run `dvc repro download`"
        raise UserError(f"data/raw: holds {found}, needed: {params.data.name}; {advice}")
    train, test = read_splits(found, Path("data/raw"))
    prepare = params.prepare
    heldout = hold_out(train, prepare.valid_size, prepare.seed, prepare.valid_split)
    splits = {"test": test} | heldout
    return {name: replace(s, labels=s.labels.long()) for name, s in splits.items()}


def read_table(path: Path) -> pd.DataFrame:
    """Return records or times, a row each; what is empty is "", not missing."""
    return pd.read_csv(path, keep_default_na=False, dtype={"overrides": str, "commit": str})


def read_runs() -> pd.DataFrame:
    """Return the runs so far, a row each."""
    return pd.read_csv(RUNS, dtype=dict.fromkeys(TEXTS, str)).fillna(TEXTS)


def groups(
    runs: pd.DataFrame, split: str, default: Params, records: pd.DataFrame | None = None
) -> Iterator[tuple[str, list[str], pd.DataFrame]]:
    """Yield what to call runs of one kind, what differs from their recipe, the runs.

    Their recipe is the one of that name now; with ``records``, it or a former one, from
    which they differ least.
    """
    runs = runs[runs["split"] == split]
    for (name, overrides), group in runs.groupby(COLUMNS[:2], sort=False):
        params = override(default, overrides.split())
        data = params.data.name
        place = f" on `{data}`" if data != default.data.name else ""
        known = {f"`{name}`{place}": read_recipe(name)}
        if records is not None:
            for record in records[records.recipe == name].itertuples():
                known[f"`{name}` of {record.date}{place}"] = record.overrides.split()
        found = {
            title: differences(params, override(default, [*words, f"data.name={data}"]))
            for title, words in known.items()
        }
        title = min(found, key=lambda title: len(found[title]))  # the first, where equal
        yield title, found[title], group


def tested(runs: pd.DataFrame, default: Params) -> dict[str, pd.DataFrame]:
    """Return the runs on the test split of each recipe as it is now."""
    return {t: group for t, differ, group in groups(runs, "test", default) if not differ}


def record_table(
    records: pd.DataFrame, runs: pd.DataFrame, times: pd.DataFrame, default: Params
) -> str:
    """Return a row for each record, as Markdown; the one that stands is bold.

    The time is that of the training, as a ratio to the original notebook's five epochs.
    """
    head = "recipe | date | test accuracy | 95% interval | seeds | images seen | time"
    rows = [f"| {head} | on | commit | what changed |", "|---" * 10 + "|"]
    standing = records.groupby("recipe").tail(1).index
    by_recipe = pd.concat([group for _, group in records.groupby("recipe", sort=False)])
    for record in by_recipe.itertuples():
        of_kind = (runs.recipe == record.recipe) & (runs.overrides == record.overrides)
        found = runs[of_kind & (runs["split"] == "test")]
        params = override(default, record.overrides.split())
        data = params.data.name
        mark = "**" if record.Index in standing else ""
        place = f" on `{data}`" if data != default.data.name else ""
        images = images_an_epoch(params, found) * params.train.epochs
        machines = "; ".join(sorted(set(found.machine)))
        rows.append(
            f"| {mark}`{record.recipe}`{mark}{place} | {record.date} "
            f"| {percent(found.accuracy)} | {interval(found.accuracy)} | {len(found)} "
            f"| {images:,} | {ratio(times, record.overrides)} | {machines} "
            f"| {record.commit} | {record.change} |"
        )
    return "\n".join(rows)


def images_an_epoch(params: Params, runs: pd.DataFrame) -> int:
    """Return how many images the runs of one kind learn from in an epoch."""
    n = int(runs.images.iloc[0])
    return min(params.train.epoch_size or n, n)


def interval(accuracy: pd.Series) -> str:
    """Return where the mean over all seeds lies, by Student's t, on this test split."""
    if len(accuracy) < 2:
        return ""
    spread = accuracy.std() / len(accuracy) ** 0.5
    low, high = stats.t.interval(0.95, len(accuracy) - 1, accuracy.mean(), spread)
    return f"{low:.2%} to {high:.2%}"


def latest(times: pd.DataFrame, overrides: str) -> pd.Series | None:
    """Return the last row of ``times`` for a kind of runs, if there is any."""
    found = times[times.overrides == overrides]
    return None if found.empty else found.iloc[-1]


def ratio(times: pd.DataFrame, overrides: str) -> str:
    """Return a training's time as a ratio to the notebook's in one run; "": not timed."""
    row = latest(times, overrides)
    return "" if row is None else f"{row.seconds / row.notebook_training:#.2g}"


def trial_table(runs: pd.DataFrame, records: pd.DataFrame, default: Params) -> str:
    """Return a row for each trial on a validation split, as Markdown, the best first.

    Those on `valid_split: last` come after the others: they do not compare.
    """
    head = "epochs | recipe | what differs from it | validation accuracy | loss | seeds"
    rows = [f"| {head} |", "|---|---|---|---|---|---|"]
    trials = list(groups(runs, "valid", default, records))
    trials.sort(
        key=lambda t: (
            " on " in t[0],
            "prepare.valid_split=last" in t[1],
            t[2].epochs.iloc[0],
            -t[2].accuracy.mean(),
        )
    )
    for title, changes, group in trials:
        words = [word.partition(".")[2] for word in changes]
        shown = [f"`{w}`" for w in words if not w.startswith(("valid_size=", "epochs="))]
        loss = "" if group.loss.isna().any() else f"{group.loss.mean():.4f}"
        rows.append(
            f"| {group.epochs.iloc[0]} | {title} | {', '.join(shown) or 'nothing'} "
            f"| {percent(group.accuracy)} | {loss} | {group.seed.nunique()} |"
        )
    return "\n".join(rows)


def percent(accuracy: pd.Series) -> str:
    """Return a mean, and from three seeds on the standard deviation."""
    spread = f" ± {100 * accuracy.std():.2f}" if len(accuracy) > 2 else ""
    return f"{accuracy.mean():.2%}{spread}"


def by_epoch(runs: pd.DataFrame, column: str = "accuracy_by_epoch") -> pd.DataFrame:
    """Return a figure of each run (rows) after each epoch (columns)."""
    return runs[column].str.split(expand=True).astype(float)


def sentences(recipes: dict[str, pd.DataFrame], times: pd.DataFrame) -> list[str]:
    """Return what the pages say of ``recipes`` outside of tables."""
    percents = 100 * by_epoch(recipes["`notebook`"])
    figures = zip(percents.mean(), percents.std(), strict=True)
    *first, last = [f"{mean:.1f} ± {deviation:.1f}" for mean, deviation in figures]
    told = [f"`notebook`'s five epochs reach {', '.join(first)} and {last}%"]
    for title in ("`fast`", "`sprint`"):
        if title not in recipes:
            continue
        row = latest(times, recipes[title].overrides.iloc[0])
        if row is not None:
            told.append(
                f"{title} trains in {row.seconds / row.notebook_training:#.2g} of the time "
                "in which the original notebook trains its five epochs, and in "
                f"{row.seconds / row.notebook_job:#.2g} of it with their evaluations"
            )
    return told


def draw(recipes: dict[str, pd.DataFrame], default: Params, path: Path) -> None:
    """Draw mean and spread of the errors after each epoch, by the images of MNIST seen."""
    mpl.use("agg")
    figure, panel = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for title in [title for title in recipes if " on " not in title]:
        runs = recipes[title]
        errors = 100 * (1 - by_epoch(runs))
        params = override(default, runs.overrides.iloc[0].split())
        seen = images_an_epoch(params, runs) * (errors.columns + 1)
        label = f"{title.strip('`')} ({len(runs)} seeds)"
        (line,) = panel.plot(seen, errors.mean(), marker="o", ms=4, label=label)
        panel.vlines(seen, errors.min(), errors.max(), color=line.get_color(), alpha=0.5)
    panel.set(xlabel="images seen, in thousands", xscale="log")
    panel.set(ylabel="test errors, %", yscale="log")
    panel.minorticks_off()
    panel.set_xticks([n * 60_000 for n in EPOCHS], [f"{n * 60:,.0f}" for n in EPOCHS])
    panel.set_yticks(ERRORS, map(str, ERRORS))
    panel.grid(alpha=0.3)
    panel.legend(frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    script.run(main)
