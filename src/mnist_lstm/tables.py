"""Results as text: JSON and CSV, floats to six decimals; written, and read back.

What stands here decides the bytes of metrics and tables.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.files import write_bytes

# Six decimals tell apart any two accuracies here (1 in 70,000 is 1.4e-5), and keep a
# rounding difference in the last bit of a float out of the metrics.
_DECIMALS = 6


def write_json(path: Path, value: dict) -> None:
    """Write ``value`` as indented JSON."""
    text = json.dumps(_rounded(value), indent=2) + "\n"
    write_bytes(path, text.encode())


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write ``table`` without its index, lines ending in LF."""
    text = table.round(_DECIMALS).to_csv(index=False, lineterminator="\n")
    write_bytes(path, text.encode())


def read_predictions(path: Path, actual: Sequence[str]) -> pd.DataFrame:
    """Return class, predicted class and its probability, a row a test example.

    A class is its name as it is spelt: "01", "NA" and "True" are no values. ``actual`` are
    the classes of the test examples.

    Raises:
        UserError: these are predictions of other examples.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if table.actual.to_list() != list(actual):
        raise UserError(f"{path}: not of these test examples; run `dvc repro evaluate`")
    return table.astype({"probability": float})


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, _DECIMALS) if isinstance(value, float) else value
