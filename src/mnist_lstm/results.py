"""Tables that earlier stages wrote, read back and checked."""

from pathlib import Path

import pandas as pd

from mnist_lstm.plumbing.errors import TableError


def read_csv(path: Path, columns: list[str], writer: str) -> pd.DataFrame:
    """Read the table at ``path``, which must have numbers or names in ``columns``.

    Raises:
        TableError: no such file, or no such table; names the stage that writes it.
    """
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise TableError.missing(path, writer) from None
    except ValueError as error:  # pandas' own errors among them
        raise TableError.damaged(path, error, writer) from None
    if (
        table.empty
        or not set(columns) <= set(table)
        or table[columns].isna().any(axis=None)
    ):
        raise TableError.incomplete(path, columns, len(table), table, writer)
    return table
