"""Labelled sequences of a ``.ts`` file, the format of the UCR/UEA archive.

Lines of ``@NAME VALUE`` come first, then ``@data``, then an example a line: its dimensions
with a colon between them, in each a value a step with a comma between, and its class last.
Messages leave the name of the file to the caller.
Source: https://www.timeseriesclassification.com
"""

from itertools import chain

import numpy as np

from mnist_lstm.data.csvfile import decoded, numbers
from mnist_lstm.plumbing.errors import UserError


def read_ts(data: bytes) -> list[tuple[np.ndarray, str, int]]:
    """Read the bytes of a file.

    Returns:
        Of each example its values (float32 [L x Q], NaN where one is missing), its class
        and its line.

    Raises:
        UserError: what its head says is not read here; or a line for each wrong example.
    """
    lines = decoded(data)
    found = [i for i, line in enumerate(lines) if line.lower().startswith("@data")]
    if not found:
        raise UserError("no line with @data; expected the format of the UCR/UEA archive")
    start = found[0] + 1
    named = (line[1:].split(maxsplit=1) for line in lines[:start] if line.startswith("@"))
    head = {name.lower(): "".join(value) for name, *value in filter(None, named)}
    _check_head(head)
    known = f" {' '.join(head['classlabel'].split()[1:])} "
    univariate = head.get("univariate", "").lower() == "true"
    n = head.get("dimensions", "1" if univariate else "")
    examples, faults = [], []
    for place, line in enumerate(lines[start:], start + 1):
        if not line.strip() or line.startswith("#"):
            continue
        *dimensions, name = line.split(":")
        n = n or str(len(dimensions) or "")
        name = " ".join(name.split())
        try:
            if not dimensions:
                raise UserError("no colon, which stands before a class")
            if str(len(dimensions)) != n:
                raise UserError(f"{len(dimensions)} dimensions and a class, expected {n}")
            if not name or f" {name} " not in known:
                raise UserError(f"class {name!r}, which @classLabel does not list")
            quoted = len(name) > 2 and name[0] == name[-1] and name[0] in "'\""
            name = name[1:-1] if quoted else name
            examples.append((_values(dimensions), name, place))
        except UserError as error:
            faults.append(f"line {place}: {error}")
    if faults or not examples:
        raise UserError(*faults or ["no sequences below @data"])
    return examples


def _check_head(head: dict[str, str]) -> None:
    if head.get("timestamps", "false").lower() != "false":
        raise UserError("@timeStamps true: time stamps are not read; write values alone")
    if head.get("classlabel", "").lower().split()[:1] != ["true"]:
        raise UserError(
            "no @classLabel true CLASS CLASS ...: sequences without classes are not read"
        )


def _values(dimensions: list[str]) -> np.ndarray:
    """Return float32 [L x Q] of the text of Q dimensions."""
    cells = [dimension.split(",") for dimension in dimensions]
    length = len(cells[0])
    for i, row in enumerate(cells, 1):
        if len(row) != length:
            found = f"{len(row)} values in dimension {i}, {length} in dimension 1"
            raise UserError(f"{found}; all need as many")

    def place(k: int) -> str:
        return f"dimension {k // length + 1}, value {k % length + 1}"

    every = list(chain.from_iterable(cells))
    return numbers(every, place).reshape(-1, length).T.astype(np.float32)
