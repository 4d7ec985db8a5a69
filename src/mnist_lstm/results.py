"""Tables and metrics that earlier stages wrote, read back and checked."""

import csv
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_lstm.plumbing.errors import OutputError, TableError
from mnist_lstm.plumbing.files import read_regular
from mnist_lstm.splits import Split

_PREDICTIONS = ["actual", "predicted", "probability"]
_LOSSES = ["train_loss", "heldout_loss"]
_ACCURACIES = ["train_accuracy", "heldout_accuracy"]
_MAX_ROW = 2000  # bytes: two names of 255, each byte a quote and so doubled, and numbers
_MAX_HISTORY = 2**23  # bytes: 65,536 epochs
_MAX_METRICS = 2**16  # bytes
# What evaluate writes is rounded to six decimals.
_ROUNDING = 1e-6


def read_predictions(path: Path, test: Split) -> pd.DataFrame:
    """Return class, predicted class and its probability of each image of ``test``.

    A class is its name as it is spelt: "01", "NA" and "True" are no values.

    Raises:
        TableError: no such file, or one that is not of these images.
    """
    table = _Table(path, _PREDICTIONS, "evaluate", _MAX_ROW * (1 + len(test)))
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
    table = _Table(
        path, ["heldout", "epoch", *_LOSSES, *_ACCURACIES], "train", _MAX_HISTORY
    )
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


def read_metrics(
    path: Path, splits: Iterable[str], predictions: pd.DataFrame
) -> dict[str, dict[str, float]]:
    """Read what ``evaluate`` wrote to ``path``: accuracy and loss of each of ``splits``.

    Raises:
        OutputError: no such file, one of these figures is not in it or cannot be, or the
            test accuracy is not that of the ``predictions``.
    """
    keys = [(split, name) for split in splits for name in ("accuracy", "loss")]
    found: dict[str, dict[str, float]] = {split: {} for split, _ in keys}
    try:
        metrics = json.loads(read_regular(path, _MAX_METRICS))
    except FileNotFoundError:
        raise OutputError.missing(path, "evaluate") from None
    except (ValueError, RecursionError):
        metrics = None
    for split, name in keys:
        try:
            value = metrics[split][name]
        except (KeyError, TypeError):
            raise OutputError.lacks(path, f"{split}.{name}", "evaluate") from None
        found[split][name] = _figure(value, path, split, name)
    right = float((predictions.actual == predictions.predicted).mean())
    if abs(found["test"]["accuracy"] - right) > _ROUNDING:
        value, expected = found["test"]["accuracy"], f"{right:.6f}, as in the predictions"
        raise OutputError.figure(path, "test.accuracy", value, expected, "evaluate")
    return found


def _figure(value: Any, path: Path, split: str, name: str) -> float:
    """Return an accuracy or a loss that JSON holds, refusing what is none."""
    most = 1 if name == "accuracy" else sys.float_info.max
    if type(value) in (int, float) and 0 <= value <= most:
        return float(value)
    expected = "a number from 0 to 1" if most == 1 else "a number >= 0"
    raise OutputError.figure(path, f"{split}.{name}", value, expected, "evaluate")


def _read_rows(text: str) -> list[list[str]]:
    """Return the rows of a CSV, up to the first that has not as many values as the header.

    Not with pandas: where lines are long it takes minutes, and it guesses what is meant.
    """
    rows: list[list[str]] = []
    for row in csv.reader(io.StringIO(text, newline=""), strict=True):
        if row:
            rows.append(row)
        if row and len(row) != len(rows[0]):
            break
    return rows


class _Table:
    """The text in the ``columns`` of a table, which may have more."""

    def __init__(self, path: Path, columns: list[str], writer: str, most: int):
        self.path = path
        self.writer = writer
        try:
            content = read_regular(path, most)
            header, *rows = _read_rows(content.decode()) or [[]]
        except FileNotFoundError:
            raise TableError.missing(path, writer) from None
        except OSError as error:
            raise TableError.damaged(path, error.strerror, writer) from None
        except (ValueError, csv.Error) as error:
            raise TableError.damaged(path, error, writer) from None
        whole = rows and len(rows[-1]) == len(header)
        if not whole or not set(columns) <= set(header):
            raise TableError.incomplete(path, columns, len(rows), header, writer)
        places = sorted(header.index(column) for column in columns)
        kept = [[row[place] for place in places] for row in [header, *rows]]
        self.rows = pd.DataFrame(kept[1:], columns=kept[0], dtype=str)

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
