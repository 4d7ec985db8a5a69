"""How results are written as text: JSON and CSV, floats to six decimals.

What stands here decides the bytes of metrics and tables.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lstm.plumbing.files import write_bytes

if TYPE_CHECKING:  # half a second, and only some stages write tables
    import pandas as pd

# Six decimals tell apart any two accuracies here (1 in 70,000 is 1.4e-5), and keep a
# rounding difference in the last bit of a float out of the metrics.
_DECIMALS = 6


def write_json(path: Path, value: dict) -> None:
    """Write ``value`` as indented JSON."""
    text = json.dumps(_rounded(value), indent=2) + "\n"
    write_bytes(path, text.encode())


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write ``table`` without its index, lines ending in LF."""
    text = table.round(_DECIMALS).to_csv(index=False, lineterminator="\n")
    write_bytes(path, text.encode())


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, _DECIMALS) if isinstance(value, float) else value
