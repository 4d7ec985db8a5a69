"""Training runs as rows of a table: all parameters, a seed, what came out.

Runs of one kind, with equal ``params`` above all, differ by their seeds. Their spread says
what chance alone does.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.files import write_bytes
from mnist_lstm.plumbing.params import Params, check_params, parse_yaml

# Whoever adds a parameter adds it here: the value that switches it off. Rows that are older
# than a parameter are read with it, and so keep their meaning whatever the default becomes.
OFF = {
    **{"model.name": "lstm", "model.n_head": "4", "train.keep": "last"},
    **{"prepare.missing": "refuse", "augment.noise": "0"},
}


def in_full(params: Mapping[str, Mapping[str, Any]]) -> str:
    """Return KEY=VALUE of all of ``params`` that a run depends on, but its seed."""
    return spell(
        {
            f"{section}.{key}": f"{value:.15g}" if isinstance(value, float) else str(value)
            for section, values in params.items()
            for key, value in values.items()
            if section != "plot" and (section, key) != ("train", "seed")
        }
    )


def spell(values: Mapping[str, str]) -> str:
    """Return KEY=VALUE of all ``values``, in one order."""
    return " ".join(f"{key}={value}" for key, value in sorted(values.items()))


def read(words: str) -> dict[str, str]:
    """Return what :func:`spell` was given, and the values of keys that are younger."""
    return OFF | dict(word.split("=", 1) for word in words.split())


def override(params: Params, words: Sequence[str]) -> Params:
    """Return ``params`` with each KEY=VALUE; ParamsError for one that does not fit."""
    values = params.model_dump()
    for word in words:
        key, _, value = word.partition("=")
        section, _, leaf = key.partition(".")
        values.setdefault(section, {})[leaf] = parse_yaml(value, "-S")
    return check_params(values, "-S")


def read_recipe(name: str) -> list[str]:
    """Return the KEY=VALUE of each `-S` in ``recipes/name``."""
    path = Path("recipes", name)
    words = shlex.split(path.read_text())
    if words[::2] != ["-S"] * (len(words) // 2):
        raise UserError(f"{path}: expected `-S KEY=VALUE`, got {' '.join(words)}")
    return words[1::2]


def read_table(path: Path) -> pd.DataFrame:
    """Return the rows of a file, with ``params`` in full."""
    table = pd.read_csv(path, dtype={"code": str, "commit": str, "of_notebook": str})
    table["params"] = [spell(read(words)) for words in table.params]
    return table


def add(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a file, and leave the others as they are."""
    columns = pd.read_csv(path, nrows=0).columns
    line = pd.DataFrame([row], columns=columns).round(6)
    text = line.to_csv(index=False, header=False, lineterminator="\n")
    write_bytes(path, path.read_bytes() + text.encode())


def of_kind(rows: pd.DataFrame, kind: Mapping[str, str]) -> pd.DataFrame:
    """Return the ``rows`` that hold what ``kind`` says, by column."""
    return rows[(rows[list(kind)] == list(kind.values())).all(axis=1)]


def missing(path: Path, kind: Mapping[str, str], seeds: int) -> list[int]:
    """Return the seeds below ``seeds`` of which a file has no row of this ``kind``."""
    known = of_kind(read_table(path), kind).seed.tolist()
    return [seed for seed in range(seeds) if seed not in known]


def summary(accuracy: pd.Series, name: str = "accuracy") -> dict[str, Any]:
    """Return what a table tells of runs of one kind, by column."""
    told = {name: percent(accuracy), "95% interval": interval(accuracy)}
    return told | {"seeds": len(accuracy)}


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table in Markdown, headed by the keys; a new row changes no other."""
    lines = [rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def percent(accuracy: pd.Series) -> str:
    """Return a mean, and from three seeds on the standard deviation."""
    spread = f" ± {100 * accuracy.std():.2f}" if len(accuracy) > 2 else ""
    return f"{accuracy.mean():.2%}{spread}"


def interval(accuracy: pd.Series) -> str:
    """Return where the mean over all seeds lies, by Student's t, on these examples."""
    from scipy import stats  # here: its import changes what warns

    if len(accuracy) < 2:
        return ""
    spread = accuracy.std() / len(accuracy) ** 0.5
    low, high = stats.t.interval(0.95, len(accuracy) - 1, accuracy.mean(), spread)
    return f"{100 * low:.2f} to {high:.2%}"
