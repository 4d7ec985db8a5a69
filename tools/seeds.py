"""Tell whether a change matters more than chance does: ``make seeds BASE=main N=5``.

    python tools/seeds.py main -S model.name=gru,model.hdim=296 -S fast,train.lr=0.005

Trains BASE and the workspace with N seeds each, every run in a folder of its own, and
compares their accuracy on a validation split. Each ``-S`` is a side of its own: the
workspace with these parameters, or those of a recipe. A run adds a row to
``metrics/seeds.csv`` as it ends, so what was stopped goes on where it was. ``make review``
reads these rows.
"""

import argparse
import contextlib
import itertools
import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import pandas as pd
import yaml
from scipy import stats

from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import check_params
from mnist_lstm.runs import (
    add,
    in_full,
    markdown,
    missing,
    of_kind,
    override,
    read_recipe,
    read_table,
    summary,
)
from trees import call, code_of, extract, find_commit, params_of, working_tree

ROWS = Path("metrics/seeds.csv")
COLUMNS = ["params", "code", "split", "seed", "accuracy", "loss", "parameters", "machine"]


class Side(NamedTuple):
    """One of those that are compared."""

    name: str
    tree: str  # of Git
    params: dict[str, dict[str, Any]]
    kind: dict[str, str]  # the columns that its rows have in common


def main() -> None:
    """Train what has no row yet, then print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("base", help="a branch, a tag or a commit")
    many: Any = {"nargs": "+", "action": "extend", "metavar": "KEY=VALUE,RECIPE,..."}
    parser.add_argument("-S", dest="sides", default=[], help="a side of its own", **many)
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="of each side")
    parser.add_argument("--split", choices=["valid", "test"], default="valid")
    parser.add_argument("--valid-size", type=int, default=5000, help="where there is none")
    parser.add_argument("--jobs", type=int, help="runs at a time; default: one a GPU")
    asked = parser.parse_args()
    commit, here = find_commit(asked.base), working_tree()
    words = {text: words_of(text) for text in asked.sides} or {"here": []}
    states = [(asked.base, commit, []), *((name, here, words[name]) for name in words)]
    sides = [side(*state, asked.split, asked.valid_size) for state in states]
    for old, new in itertools.combinations(sides, 2):
        if old.kind == new.kind:
            same = f"nothing that decides an accuracy differs from {old.name}"
            raise UserError(f"{new.name}: {same}")
    with tempfile.TemporaryDirectory() as temporary:
        train(sides, asked.seeds, asked.jobs, Path(temporary))
    print(told(sides, read_table(ROWS)))


def words_of(text: str) -> list[str]:
    """Return the KEY=VALUE that commas join in ``text``, and those of recipes there."""
    words = []
    for part in text.split(","):
        if "=" not in part and not Path("recipes", part).is_file():
            raise UserError(
                f"-S {text}: {part} is neither KEY=VALUE nor in recipes/; a comma joins "
                "what belongs together, each -S is a side of its own"
            )
        words += [part] if "=" in part else read_recipe(part)
    return words


def side(name: str, tree: str, words: list[str], split: str, valid_size: int) -> Side:
    """Return what is to be trained of ``tree``, with a validation split if need be."""
    params = params_of(tree)
    if words:
        params = override(check_params(params, "params.yaml"), words).model_dump()
    if split == "valid":
        params["prepare"]["valid_size"] = params["prepare"]["valid_size"] or valid_size
    kind = {"params": in_full(params), "code": code_of(tree, params)}
    return Side(name, tree, params, kind | {"split": split})


def train(sides: list[Side], seeds: int, jobs: int | None, temporary: Path) -> None:
    """Run what has no row yet; add its row as it ends."""
    import torch  # seconds

    if not ROWS.exists():
        ROWS.write_text(",".join(COLUMNS) + "\n")
    todo = [(seed, side) for side in sides for seed in missing(ROWS, side.kind, seeds)]
    todo.sort(key=lambda run: run[0])
    gpus = torch.cuda.device_count()
    jobs = jobs or max(gpus, 1)
    free: SimpleQueue[dict[str, str]] = SimpleQueue()
    for job in range(jobs):
        threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}
        gpu = {"CUDA_VISIBLE_DEVICES": str(job % gpus)} if gpus else {}
        free.put(gpu | (threads if jobs > 1 else {}))
    with ThreadPoolExecutor(jobs) as pool:
        runs = {
            pool.submit(run, side, seed, free, temporary / f"{i}"): (side, seed)
            for i, (seed, side) in enumerate(todo)
        }
        try:
            for done in as_completed(runs):
                side, seed = runs[done]
                add(ROWS, side.kind | {"seed": seed} | done.result())
                accuracy = done.result()["accuracy"]
                print(f"{side.name}, seed {seed}: {accuracy:.2%}", flush=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def run(side: Side, seed: int, free: SimpleQueue, folder: Path) -> dict[str, Any]:
    """Train ``side`` with ``seed`` in ``folder``; return what came out, by column.

    DVC's cache is the project's, so data are linked, and what ran before is not run again.
    """
    environment = free.get()
    try:
        extract(side.tree, folder)
        take_along(folder)
        params = side.params | {"train": side.params["train"] | {"seed": seed}}
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        call(folder, "dvc", "repro", "evaluate", "describe", **environment)
        found, size = (
            json.loads((folder / f"metrics/{name}.json").read_text())
            for name in ("evaluate", "model")
        )
        return found[side.kind["split"]] | size | {"machine": machine(params["train"])}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        free.put(environment)


def take_along(folder: Path) -> None:
    """Have ``folder`` use this project's cache, settings and own data."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copy(".dvc/config.local", folder / ".dvc")
    cache = call(Path(), "dvc", "cache", "dir").strip()
    call(folder, "dvc", "cache", "dir", "--local", cache)
    for file in folder.glob("own/*.dvc"):
        call(folder, "dvc", "checkout", str(file.relative_to(folder)))
    if not any(folder.glob("own/t*")):  # neither Git nor DVC tracks any
        shutil.rmtree(folder / "own")
        shutil.copytree("own", folder / "own", copy_function=os.link)


def machine(params: dict[str, Any]) -> str:
    """Say what the bits of a run here depend on."""
    from mnist_lstm.device import Compute, select_device, select_precision

    device = select_device(params["device"])
    return str(Compute(device, select_precision(params["precision"], device)))


def told(sides: list[Side], rows: pd.DataFrame) -> str:
    """Return a table of all, then of each: the difference to the first, what half takes."""
    found = [of_kind(rows, side.kind) for side in sides]
    split = "validation" if sides[0].kind["split"] == "valid" else "test"
    table = []
    for side, runs in zip(sides, found, strict=True):
        size = {"parameters": f"{runs.parameters.max():,.0f}"}
        table.append({"": side.name} | summary(runs.accuracy) | size)
    lines = [f"On the {split} split:", "", markdown(table), ""]
    first = found[0].accuracy
    for side, runs in zip(sides[1:], found[1:], strict=True):
        few = min(len(first), len(runs)) < 2
        takes = "" if few else half(first, runs.accuracy)
        lines.append(f"{side.name}: {difference(first, runs.accuracy)}. {takes}".rstrip())
    return "\n".join(lines)


def difference(old: pd.Series, new: pd.Series) -> str:
    """Say how far two means are apart, and whether chance alone could do that."""
    points = 100 * (new.mean() - old.mean())
    if min(len(old), len(new)) < 2:
        return f"{points:+.2f} points; one seed each says nothing of chance"
    test = stats.ttest_ind(new, old, equal_var=False)
    low, high = (100 * end for end in test.confidence_interval(0.95))
    noise = "within noise" if low <= 0 <= high or not points else "beyond noise"
    return (
        f"{points:+.2f} points, 95% interval {low:+.2f} to {high:+.2f} by Welch's t-test: "
        f"{noise}"
    )


def half(old: pd.Series, new: pd.Series, power: float = 0.8) -> str:
    """Say how many seeds would see half of the difference with this ``power``."""
    spread = ((old.var() + new.var()) / 2) ** 0.5
    points = abs(new.mean() - old.mean()) / 2
    if not points or not spread:
        return ""
    for n in range(2, 1000):
        limit = stats.t.ppf(0.975, 2 * n - 2)
        if stats.nct.sf(limit, 2 * n - 2, points / spread * (n / 2) ** 0.5) >= power:
            return f"To see half of it in 4 of 5 cases takes {n} seeds each."
    return "To see half of it takes more than 1,000 seeds each."


if __name__ == "__main__":
    script.run(main, alone=False)
