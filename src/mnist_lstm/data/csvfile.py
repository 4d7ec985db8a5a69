"""A sequence from a table of anyone's in text: a row a step, a column a value.

Encoding, separator, decimal comma and header are found in each file by itself. What could
mean two things is refused, or read and noted; what is no number is named by line and
column. Messages leave the name of the file to the caller.
"""

import csv
import math
import re
from itertools import chain
from typing import NamedTuple

import numpy as np

from mnist_lstm.data.arrays import COARSE, blurs, counted
from mnist_lstm.plumbing.errors import UserError, one_line, printable

MISSING = ("", "nan", "na", "n/a", "null", "none", "?")  # a cell, in small letters
INDEX = "a first column without a name that counts, as pandas writes its index, left out"
COUNTS = "the first column counts 0, 1, 2, ... and is read; remove it if it is no value"
NUMBERED = "a first line of 0, 1, 2, ... taken for the names of the columns"
DECIMAL = "decimal commas, read as points"
PAIRS = "two columns of whole numbers are read; if it is a decimal comma, write a point"

_TIME = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}|\d{1,2}:\d{2}")
_NUMBER = re.compile(r"[-+]?\d+(,\d+)?(e[-+]?\d+)?", re.IGNORECASE)  # with its comma
_ALMOST = re.compile(
    r"[-+.$]?\d[-+.,:/'\s_xed%\d]*(T[\d:.]*Z?)?$", re.IGNORECASE
)  # a number
LARGEST = float(np.finfo(np.float32).max)


class _Row(NamedTuple):
    line: int
    cells: list[str]


class Table(NamedTuple):
    """A sequence as read."""

    values: np.ndarray  # float32 [L x Q], NaN where a value is missing
    names: tuple[str, ...] = ()  # of the columns; none without a header
    missing: str = ""  # how many values, and where the first is
    notes: tuple[str, ...] = ()  # what is no fault and may be none that was meant


def read_csv(data: bytes) -> Table:
    """Read the bytes of a file.

    Raises:
        UserError: says what is wrong, and in which line and column.
    """
    rows, separator = _rows(decoded(data))
    header = _is_header(rows[0].cells, separator)
    numbered = not header and _is_numbered([row.cells for row in rows])
    first = rows.pop(0) if header or numbered else None
    if not rows:
        raise UserError("no values below the names of the columns")
    width = len(rows[0].cells)
    for line, cells in rows:
        if len(cells) != width:
            expected = f"expected {width} as in line {rows[0].line}"
            raise UserError(f"line {line}: {_cells(len(cells))}, {expected}")
    names = [name.strip() for name in first.cells] if first else []
    if first and width == 1 and separator == " ":
        names = [" ".join(names)]
    if first and len(names) != width:
        raise UserError(f"line {first.line}: {_cells(len(names))}, {width} below")
    comma = separator != "," and any("," in cell for row in rows for cell in row.cells)
    values, missing = _values(rows, names, comma)
    notes = [NUMBERED] * numbered + [DECIMAL] * comma
    whole = separator == "," and width == 2 and (values // 1 == values).all()
    if whole and not names and (values[:, 1] >= 0).all():
        notes.append(PAIRS)
    counts = len(values) > 1 and bool((np.diff(values[:, 0]) == 1).all())
    if names and names[0] in ("", "Unnamed: 0"):
        if not counts or width == 1:
            raise UserError("column 1 has no name; write one, or remove the column")
        names, values = names[1:], values[:, 1:]
        notes.append(INDEX)
    elif counts and len(values) > 2 and values[0, 0] % 1 == 0:
        notes.append(COUNTS)
    single = values.astype(np.float32)
    if blurs(values, single):
        notes.append(COARSE)
    return Table(single, tuple(names), missing, tuple(notes))


def decoded(data: bytes) -> list[str]:
    """Return the lines of a text in UTF-8, UTF-16 or, as its numbers are ASCII, Latin-1.

    Raises:
        UserError: it is empty, or no text.
    """
    if not data.strip():
        raise UserError("an empty file")
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "\0" in text:
        raise UserError("zero bytes in it, and so no text; save the table as CSV")
    if "\r" in text:  # several of them: Python's csv writes two on Windows
        text = re.sub("\r+\n|\r", "\n", text)
    return text.rstrip("\n").split("\n")


def _cells(n: int) -> str:
    return f"{n:,} cell" + "s" * (n != 1)


def number(text: str, comma: bool = False) -> float:
    """Return the number in a cell, NaN where it is missing; ``comma``: a decimal one.

    Raises:
        UserError: it is none, or infinite as float32.
    """
    cell = text.strip()
    if cell.lower() in MISSING:
        return math.nan
    shown = repr(printable(cell, 40))
    try:
        if comma and ("." in cell or not _NUMBER.fullmatch(cell)):
            raise ValueError
        value = float(cell.replace(",", ".") if comma else cell.replace("_", "?"))
    except ValueError:
        what = "no number, unlike others with a decimal comma" if comma else "no number"
        if _TIME.search(cell):
            what = "a time stamp; remove the column"
        raise UserError(f"{shown} is {what}") from None
    if not abs(value) <= LARGEST:
        raise UserError(f"{shown} is infinite in float32")
    return value


def plain_numbers(cells: list[str]) -> np.ndarray | None:
    """Return float64 of ``cells``; None where one is missing, infinite or no number."""
    try:
        found = np.array([*map(float, cells)])
    except ValueError:
        return None
    plain = (np.abs(found) <= LARGEST).all() and "_" not in "".join(cells)
    return found if plain else None


def _rows(lines: list[str]) -> tuple[list[_Row], str]:
    """Return the rows below remarks and empty lines, and what separates their cells."""
    first, separator = 0, ""
    if lines[0].lower().startswith("sep="):  # to Excel
        separator, first = lines[0][4:5], 1
    while first < len(lines) and lines[first].strip()[:1] in ("", "#", "%"):
        first += 1
    if first == len(lines):
        raise UserError("no values")
    below = lines[first:]
    separator = separator or _separator(below)
    if separator == " ":
        below = [line.strip() for line in below]
    try:
        reader = csv.reader(below, delimiter=separator, skipinitialspace=True)
        rows = [_Row(first + reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise UserError(f"line {first + reader.line_num}: {one_line(error)}") from None
    if empty := next((line for line, cells in rows if not cells), None):
        raise UserError(f"line {empty}: empty, between others")
    if separator == "," and not any("." in line for line in below):
        for line, cells in rows:
            for cell in cells[1:]:
                if re.match(r"\s*0\d", cell):
                    raise UserError(
                        f"line {line}: {cell!r} begins with 0, as behind a decimal comma; "
                        "write decimal points, or semicolons between the columns"
                    )
    return _without_end(rows), separator


def _separator(lines: list[str]) -> str:
    """Return what separates the cells in most of ``lines``; decimal commas are none."""
    for found in "\t;,":
        having = [line for line in lines if found in line]
        if 2 * len(having) >= len(lines):
            cells = (line.split() for line in having)
            decimal = all(
                len(row) > 1 and all(map(_NUMBER.fullmatch, row)) for row in cells
            )
            return " " if found == "," and decimal else found
    return " "


def _without_end(rows: list[_Row]) -> list[_Row]:
    """Remove the empty last cell that a separator behind each last value makes."""
    (_, head), *rest = rows
    if not rest or any(cells[-1].strip() or len(cells) == 1 for _, cells in rest):
        return rows
    if not head[-1].strip():
        return [_Row(line, cells[:-1]) for line, cells in rows]
    if len(head) < len(rest[0].cells):
        return [rows[0], *(_Row(line, cells[:-1]) for line, cells in rest)]
    return rows


def _is_header(cells: list[str], separator: str) -> bool:
    """Say whether these are names: text, beside which only whole numbers may stand."""
    kinds = set()
    for cell in cells:
        try:
            decimal = separator != "," and "," in cell
            kinds.add("number" if number(cell, decimal) % 1 > 0 else "")
        except UserError:
            kinds.add("number" if _ALMOST.match(cell.strip()) else "text")
    return "text" in kinds and "number" not in kinds


def _is_numbered(rows: list[list[str]]) -> bool:
    """Say whether the first row is 0, 1, 2, ..., the names that pandas gives to columns.

    Those below must be of another kind: with a point, or behind an index.
    """
    head, *rest = rows
    start = int(not head[0] and len(head) > 1)
    if head[start:] != [str(i) for i in range(len(head) - start)] or not rest:
        return False
    if start and [row[0] for row in rest] == [str(i) for i in range(len(rest))]:
        return True
    columns = zip(*rest, strict=False)
    return any(all("." in cell for cell in column) for column in columns)


def _values(rows: list[_Row], names: list[str], comma: bool) -> tuple[np.ndarray, str]:
    """Return the numbers, float64 [L x Q], and what is said of the missing ones."""
    cells = [row.cells for row in rows]
    plain = None if comma else plain_numbers(list(chain.from_iterable(cells)))
    if plain is not None:
        return plain.reshape(len(rows), -1), ""
    values, gaps = np.empty((len(rows), len(cells[0]))), []
    for i, (line, row) in enumerate(rows):
        for j, cell in enumerate(row):
            named = f" ({names[j]})" if names else ""
            try:
                values[i, j] = number(cell, comma)
            except UserError as error:
                raise UserError(f"line {line}, column {j + 1}{named}: {error}") from None
            if math.isnan(values[i, j]):
                gaps.append(f"line {line}, column {j + 1}{named}")
    return values, f"{counted(len(gaps))}, the first in {gaps[0]}" if gaps else ""
