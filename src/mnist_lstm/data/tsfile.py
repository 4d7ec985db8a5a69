"""Labelled sequences of a ``.ts`` file, the format of the UCR/UEA archive.

Lines of ``@NAME VALUE`` come first, then ``@data``, then an example a line: its dimensions
with a colon between them, in each a value a step with a comma between, and its class last.
Messages leave the name of the file to the caller.
Source: https://www.timeseriesclassification.com
"""

from collections.abc import Iterable

import numpy as np

from mnist_lstm.data.csvfile import decoded, number, plain_numbers
from mnist_lstm.plumbing.errors import UserError


def read_ts(
    data: bytes, faults: list[str]
) -> tuple[list[np.ndarray], list[str], list[int]]:
    """Read the bytes of a file.

    Args:
        data: of the file.
        faults: a line is added for each example that is wrong.

    Returns:
        Of each example its values (float32 [L x Q], NaN where one is missing), its class
        and its line.

    Raises:
        UserError: what its head says is not read here.
    """
    lines = decoded(data)
    found = [i for i, line in enumerate(lines) if line.lower().startswith("@data")]
    if not found:
        raise UserError("no line with @data; expected the format of the UCR/UEA archive")
    start = found[0] + 1
    head = dict(_named(line) for line in lines[:start] if line.startswith("@"))
    _check_head(head)
    known = f" {' '.join(head['classlabel'].split()[1:])} "
    univariate = head.get("univariate", "").lower() == "true"
    n = head.get("dimensions", "1" if univariate else "")
    examples, classes, places = [], [], []
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
            examples.append(_values(dimensions))
        except UserError as error:
            faults.append(f"line {place}: {error}")
            continue
        quoted = len(name) > 2 and name[0] == name[-1] and name[0] in "'\""
        classes.append(name[1:-1] if quoted else name)
        places.append(place)
    if not examples and not faults:
        raise UserError("no sequences below @data")
    return examples, classes, places


def _named(line: str) -> tuple[str, str]:
    """Return the name, in small letters, and the value in a line of the head."""
    name, _, value = line[1:].strip().partition(" ")
    return name.lower(), value.strip()


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
    for i, row in enumerate(cells, 1):
        if len(row) != len(cells[0]):
            found = f"{len(row)} values in dimension {i}, {len(cells[0])} in dimension 1"
            raise UserError(f"{found}; all need as many")
    return np.array([_numbers(row, i) for i, row in enumerate(cells, 1)], np.float32).T


def _numbers(cells: list[str], dimension: int) -> Iterable[float]:
    plain = plain_numbers(cells)
    if plain is not None:
        return plain
    values = []
    for i, cell in enumerate(cells, 1):
        try:
            values.append(number(cell))
        except UserError as error:
            raise UserError(f"dimension {dimension}, value {i}: {error}") from None
    return values
