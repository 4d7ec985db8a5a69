"""Training runs as rows of a table: all parameters, a seed, what came out.

Runs of equal ``params`` are of one kind. Their spread says what chance alone does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_lstm.plumbing.files import write_bytes

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
