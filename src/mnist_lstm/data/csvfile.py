"""A sequence from a table of anyone's in text: a row a step, a column a value.

Encoding, separator, decimal comma and header are found in each file by itself. What could
mean two things is refused, or read and noted; what is no number is named by line and
column. Messages leave the name of the file to the caller.
"""

import csv
import math
import re
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

import numpy as np

from mnist_lstm.data.arrays import COARSE, blurs
from mnist_lstm.plumbing.errors import UserError, one_line, printable

MISSING = ("", "nan", "na", "n/a", "null", "none", "?")  # a cell, in small letters
INDEX = "a first column without a name that counts, as pandas writes its index, left out"
COUNTS = "the first column counts 0, 1, 2, ... and is read; remove it if it is no value"
NUMBERED = "a first line that counts, 0, 1, 2, ..., taken for the names of the columns"
DECIMAL = "decimal commas, read as points"
PAIRS = "two columns of whole numbers are read; if it is a decimal comma, write a point"

_TIME = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}|\d{1,2}:\d{2}")
_NUMBER = re.compile(r"[-+]?\d+(,\d+)?(e[-+]?\d+)?", re.IGNORECASE)  # with its comma
# A number or a time in another spelling, which is no name of a column.
_ALMOST = re.compile(r"[-+.$]?\d[-+.,:/'\s_xed%\d]*(T[\d:.]*Z?)?$", re.IGNORECASE)
LARGEST = float(np.finfo(np.float32).max)


class _Row(NamedTuple):
    line: int
    cells: list[str]


class Table(NamedTuple):
    """A sequence as read."""

    values: np.ndarray  # float32 [L x Q], NaN where a value is missing
    names: tuple[str, ...] = ()  # of the columns; none without a header
    notes: tuple[str, ...] = ()  # what is no fault and may be none that was meant


def read_csv(data: bytes) -> Table:
    """Read the bytes of a file.

    Raises:
        UserError: says what is wrong, and in which line and column.
    """
    rows, separator = _rows(decoded(data))
    numbered = _is_numbered([row.cells for row in rows])
    names: list[str] = []
    if numbered or _is_header(rows[0].cells, separator):
        names = _names(rows, separator)
    values, comma = _values(rows, names, separator)
    notes = [NUMBERED] * numbered + [DECIMAL] * comma
    whole = separator == "," and values.shape[1] == 2 and (values // 1 == values).all()
    if whole and not names and (values[:, 1] >= 0).all():
        notes.append(PAIRS)
    counts = len(values) > 1 and bool((np.diff(values[:, 0]) == 1).all())
    if names and names[0] in ("", "Unnamed: 0"):
        if not counts or len(names) == 1:
            raise UserError("column 1 has no name; write one, or remove the column")
        names, values = names[1:], values[:, 1:]
        notes.append(INDEX)
    elif counts and len(values) > 2 and values[0, 0] % 1 == 0:
        notes.append(COUNTS)
    notes += [COARSE] * blurs(values)
    return Table(values.astype(np.float32), tuple(names), tuple(notes))


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
    # Several of them: Python's csv writes two on Windows.
    return re.sub("\r+\n|\r", "\n", text).rstrip("\n").split("\n")


def numbers(
    cells: list[str], place: Callable[[int], str], comma: bool = False
) -> np.ndarray:
    """Return float64 of ``cells``, NaN where one is missing; ``comma``: a decimal one.

    Raises:
        UserError: one is no number, or infinite as float32; ``place`` names the i-th.
    """
    try:  # all at once, which is fast and does for most files
        found = np.array([*map(float, cells)])
        if not comma and (np.abs(found) <= LARGEST).all() and "_" not in "".join(cells):
            return found
    except ValueError:
        pass
    values = []
    for i, cell in enumerate(cells):
        try:
            values.append(_number(cell, comma))
        except UserError as error:
            raise UserError(f"{place(i)}: {error}") from None
    return np.array(values)


def _number(text: str, comma: bool) -> float:
    cell = text.strip()
    if cell.lower() in MISSING:
        return math.nan
    shown = repr(printable(cell, 40))
    try:
        if comma and not _NUMBER.fullmatch(cell):
            raise ValueError
        value = float(cell.replace(",", ".") if comma else cell.replace("_", "?"))
    except ValueError:
        what = "no number, unlike others with a decimal comma" if comma else "no number"
        if _TIME.search(cell):
            what = "a time stamp; remove the column"
        raise UserError(f"{shown} is {what}") from None
    if abs(value) > LARGEST:
        raise UserError(f"{shown} is infinite in float32")
    return value


def _rows(lines: list[str]) -> tuple[list[_Row], str]:
    """Return the rows below remarks and empty lines, and what separates their cells."""
    first, separator = 0, ""
    if re.fullmatch("sep=[,;|\t]", lines[0], re.IGNORECASE):  # to Excel
        separator, first = lines[0][4], 1
    while first < len(lines) and lines[first].strip()[:1] in ("", "#", "%"):
        first += 1
    if first == len(lines):
        raise UserError("no values")
    below = [line.strip(" ") for line in lines[first:]]
    separator = separator or _separator(below)
    if separator == "," and not any("." in line for line in below):
        for i, line in enumerate(below, first + 1):
            if found := re.search(r",\s*(0\d[^,]*)", line):
                raise UserError(
                    f"line {i}: {found[1]!r} begins with 0, as behind a decimal comma; "
                    "write decimal points, or semicolons between the columns"
                )
    below = _without_end(below, separator)
    try:
        reader = csv.reader(below, delimiter=separator, skipinitialspace=True)
        rows = [_Row(first + reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise UserError(f"line {first + reader.line_num}: {one_line(error)}") from None
    if empty := next((line for line, cells in rows if not cells), None):
        raise UserError(f"line {empty}: empty, between others")
    return rows, separator


def _separator(lines: list[str]) -> str:
    """Return what separates the cells in most of ``lines``; decimal commas are none."""
    for found in "\t;,":
        having = [line.split() for line in lines if found in line]
        if 2 * len(having) >= len(lines):
            decimal = all(len(c) > 1 and all(map(_NUMBER.fullmatch, c)) for c in having)
            return " " if found == "," and decimal else found
    return " "


def _without_end(lines: list[str], separator: str) -> list[str]:
    """Remove the separator behind each last value, which would make a cell of its own."""
    head, *rest = lines
    if not rest or not all(line.endswith(separator) for line in rest):
        return lines
    # Else the last column has a name, and no value.
    if head.endswith(separator) or head.count(separator) < rest[0].count(separator):
        return [line.removesuffix(separator) for line in lines]
    return lines


def _is_header(cells: list[str], separator: str) -> bool:
    """Say whether these are names: text, beside which only whole numbers may stand."""
    kinds = set()
    for cell in cells:
        try:
            decimal = separator != "," and "," in cell
            kinds.add("number" if _number(cell, decimal) % 1 > 0 else "")
        except UserError:
            kinds.add("number" if _ALMOST.match(cell.strip()) else "text")
    return "text" in kinds and "number" not in kinds


def _is_numbered(rows: list[list[str]]) -> bool:
    """Say whether the first row is 0, 1, 2, ... or 1, 2, ..., as pandas names columns.

    Those below must be of another kind: with a point, or behind an index.
    """
    head, *rest = rows
    indexed = head[0] == ""
    n = len(head) - indexed
    first = int(n > 1 and head[-1] == str(n))
    if head[indexed:] != [str(i + first) for i in range(n)]:
        return False
    counts = [row[0] for row in rest] == [str(i) for i in range(len(rest))]
    columns = zip(*rest, strict=False)
    return (indexed and counts) or any(all("." in c for c in column) for column in columns)


def _names(rows: list[_Row], separator: str) -> list[str]:
    """Take the names of the columns off ``rows``, of which they are the first."""
    line, cells = rows.pop(0)
    if not rows:
        raise UserError("no values below the names of the columns")
    width = len(rows[0].cells)
    names = [name.strip() for name in cells]
    if width == 1 and separator == " ":
        names = [" ".join(names)]
    if len(names) != width:
        raise UserError(f"line {line}: {_counted(names)}, {width} below")
    return names


def _values(rows: list[_Row], names: list[str], separator: str) -> tuple[np.ndarray, bool]:
    """Return the numbers, float64 [L x Q], and whether they have decimal commas."""
    width = len(rows[0].cells)
    for line, cells in rows:
        if len(cells) != width:
            expected = f"expected {width} as in line {rows[0].line}"
            raise UserError(f"line {line}: {_counted(cells)}, {expected}")

    def place(i: int) -> str:
        named = f" ({names[i % width]})" if names else ""
        return f"line {rows[i // width].line}, column {i % width + 1}{named}"

    every = list(chain.from_iterable(row.cells for row in rows))
    comma = separator != "," and any("," in cell for cell in every)
    return numbers(every, place, comma).reshape(-1, width), comma


def _counted(cells: list[str]) -> str:
    return f"{len(cells):,} cell" + "s" * (len(cells) != 1)
