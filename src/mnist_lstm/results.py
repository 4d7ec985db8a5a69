"""Tables and metrics that earlier stages wrote, read back and checked."""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mnist_lstm.plumbing.errors import OutputError, TableError
from mnist_lstm.splits import Split

_PREDICTIONS = ["actual", "predicted", "probability"]
_LOSSES = ["train_loss", "heldout_loss"]
_ACCURACIES = ["train_accuracy", "heldout_accuracy"]


def read_predictions(path: Path, test: Split) -> pd.DataFrame:
    """Return class, predicted class and its probability of each image of ``test``.

    A class is its name as it is spelt: "01", "NA" and "True" are no values.

    Raises:
        TableError: no such file, or one that is not of these images.
    """
    table = _Table(path, _PREDICTIONS, "evaluate")
    if len(table.rows) != len(test):
        raise TableError.length(path, len(table.rows), len(test), "evaluate")
    known = table.rows.predicted.isin(test.classes)
    table.check("predicted", known, "a class of the test images")
    names = pd.Series([test.classes[label] for label in test.labels.tolist()])
    right = table.rows.actual == names
    table.check("actual", right, "the class of the test image in this place")
    table.check_between("probability", 0, 1)
    return table.numeric(["probability"])


def read_history(path: Path) -> pd.DataFrame:
    """Return a row an epoch: loss and accuracy on the train and the held-out split.

    Raises:
        TableError: no such file, or no such table.
    """
    table = _Table(path, ["heldout", "epoch", *_LOSSES, *_ACCURACIES], "train")
    heldout = table.rows.heldout
    known = heldout.isin(["valid", "test"]) & (heldout == heldout[0])
    table.check("heldout", known, "valid or test, the same in each line")
    in_order = table.numbers("epoch") == pd.Series(range(len(heldout)))
    table.check("epoch", in_order, "one more than in the line above, the first 0")
    for name in _LOSSES:
        table.check_between(name, 0, float("inf"))
    for name in _ACCURACIES:
        table.check_between(name, 0, 1)
    return table.numeric(["epoch", *_LOSSES, *_ACCURACIES])


def read_metrics(path: Path, splits: Iterable[str]) -> dict[str, dict[str, float]]:
    """Read what ``evaluate`` wrote to ``path``: accuracy and loss of each of ``splits``.

    Raises:
        OutputError: no such file, or one of these figures is not in it.
    """
    keys = [(split, name) for split in splits for name in ("accuracy", "loss")]
    found: dict[str, dict[str, float]] = {split: {} for split, _ in keys}
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError.missing(path, "evaluate") from None
    except ValueError:
        metrics = None
    for split, name in keys:
        try:
            found[split][name] = float(metrics[split][name])
        except (ValueError, KeyError, TypeError):
            raise OutputError.lacks(path, f"{split}.{name}", "evaluate") from None
    return found


class _Table:
    """The text of a table, which is there and has the ``columns``."""

    def __init__(self, path: Path, columns: list[str], writer: str):
        self.path = path
        self.writer = writer
        try:
            # As text: what pandas takes for a number, a date or a gap is not asked.
            self.rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        except FileNotFoundError:
            raise TableError.missing(path, writer) from None
        except (ValueError, OSError) as error:  # pandas' own errors among them
            raise TableError.damaged(path, error, writer) from None
        # Where lines are longer than the first, pandas takes what it finds for an index.
        whole = isinstance(self.rows.index, pd.RangeIndex) and len(self.rows)
        if not whole or not set(columns) <= set(self.rows):
            raise TableError.incomplete(path, columns, len(self.rows), self.rows, writer)

    def numbers(self, column: str) -> pd.Series:
        """Return ``column`` as numbers; NaN for what is none."""
        return pd.to_numeric(self.rows[column], errors="coerce")

    def check_between(self, column: str, low: float, high: float) -> None:
        """Refuse a value of ``column`` that is no number from ``low`` to ``high``."""
        values = self.numbers(column)
        expected = f"a number from {low:g} to {high:g}" if high < 2 else "a number >= 0"
        inside = (low <= values) & (values <= high) & (values < float("inf"))
        self.check(column, inside, expected)

    def check(self, column: str, right: pd.Series, expected: str) -> None:
        """Refuse the first value of ``column`` that is not ``right``."""
        if not right.all():
            row = int(right.to_numpy().argmin())
            found = self.rows[column].iloc[row]
            raise TableError.value(self.path, row + 2, column, found, expected, self.writer)

    def numeric(self, columns: list[str]) -> pd.DataFrame:
        """Return the table with numbers in ``columns``."""
        return self.rows.assign(**{name: self.numbers(name) for name in columns})
