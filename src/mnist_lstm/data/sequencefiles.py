"""Own sequences as they come: arrays, a file a sequence, or the UCR/UEA archive's format.

Three ways in, one result: ``Part``, with what is wrong in lines and each example's place.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mnist_lstm.data.arrays import COARSE, blurs, load, to_float32
from mnist_lstm.data.csvfile import Table, read_csv
from mnist_lstm.data.folders import find, is_name, natural, tell
from mnist_lstm.data.tsfile import read_ts
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.processes import mapped
from mnist_lstm.plumbing.progress import bar


class Example(NamedTuple):
    """A sequence as it was found."""

    values: np.ndarray  # float32 [L x Q], NaN where one is missing
    name: str  # of its class
    place: str  # for a person
    group: str = ""


class Part(NamedTuple):
    """The train or the test data as they were found."""

    source: Path  # their file or folder
    examples: list[Example]  # none where there are none, or where something is wrong
    features: Sequence[str] = ()  # names of the values in a step, if any are given


def read_parts(folder: Path, ending: str, problems: list[str]) -> tuple[Part, Part]:
    """Read the train and the test data in ``folder``, of files with this ``ending``.

    A line is added to ``problems`` for each thing wrong.
    """
    if ending not in (".npz", ".ts"):
        return _read_folders(folder, ending, problems)
    read = _read_npz if ending == ".npz" else _read_ts
    train, test = (Part(folder / f"{name}{ending}", []) for name in ("train", "test"))
    if not train.source.exists():
        problems.append(f"{train.source}: no such file, but {test.source}")
    for path, examples, _ in (train, test):
        try:
            if path.exists():
                examples += read(path)
                _check_names(examples)
        except UserError as error:
            problems += [f"{path}: {line}" for line in error.args]
    return train, test


def _read_npz(path: Path) -> list[Example]:
    """Read ``x`` [N x L x Q] and ``y`` [N], and ``lengths`` and ``groups`` [N] if given."""
    arrays = load(path)
    if not isinstance(arrays, dict):
        raise UserError("a single array, expected x and y as np.savez writes them")
    if lacking := [name for name in ("x", "y") if name not in arrays]:
        found = ", ".join(arrays) or "nothing"
        raise UserError(f"no {' and no '.join(lacking)} in it, only {found}")
    x, y = arrays.pop("x"), arrays.pop("y")
    lengths, groups = (arrays.pop(name, None) for name in ("lengths", "groups"))
    tell(f"{path}: neither x, y, lengths nor groups, left out", list(arrays))
    if x.ndim == 2:
        print(f"{path}: x {list(x.shape)} is read as one value a step")
        x = x[:, :, None]
    if x.ndim != 3:
        raise UserError(f"x {list(x.shape)}, expected [sequences x steps x values]")
    steps = np.full(len(x), x.shape[1]) if lengths is None else _steps(lengths, x)
    x[np.arange(x.shape[1]) >= steps[:, None]] = 0  # for padding may be infinite
    # Views of one array: many small ones would leave the memory in pieces.
    each = [values[:n] for values, n in zip(to_float32(x, "x"), steps, strict=True)]
    ending = [i for i, values in enumerate(each) if np.isnan(values[-1]).all()]
    if ending and lengths is None:
        first = f"x[{ending[0]}] and {len(ending) - 1:,} more end without values"
        raise UserError(f"{first}; if that is padding, add lengths")
    start = np.concatenate([x[i, :n] for i, n in enumerate(steps[:100])])
    tell(COARSE, [path] * blurs(start))
    names = _texts("y", y, len(x))
    owners = [""] * len(x) if groups is None else _texts("groups", groups, len(x))
    return [
        Example(values, name, f"{path}: x[{i}]", owner)
        for i, (values, name, owner) in enumerate(zip(each, names, owners, strict=True))
    ]


def _steps(lengths: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return how many steps of each of ``x`` [N x L x Q] are real, int64 [N]."""
    n, most = x.shape[:2]
    if lengths.shape != (n,) or lengths.dtype.kind not in "iuf":
        found = f"{list(lengths.shape)} of {lengths.dtype}"
        raise UserError(
            f"lengths {found}, expected {n:,} whole numbers, as x has sequences"
        )
    fit = (np.floor(lengths) == lengths) & (lengths >= 1) & (lengths <= most)
    if not fit.all():
        i = fit.argmin()
        raise UserError(
            f"lengths[{i}] is {lengths[i]}, expected a whole number from 1 to {most:,}"
        )
    return lengths.astype(np.int64)


def _texts(what: str, values: np.ndarray, n: int) -> list[str]:
    """Return names out of ``values`` [n]: text, or whole numbers."""
    if values.shape != (n,):
        raise UserError(f"{what} {list(values.shape)}, expected [{n:,}] as x has sequences")
    if values.dtype.kind == "f" and (np.floor(values) == values).all():
        values = values.astype(np.int64)
    if values.dtype.kind == "S":
        values = np.strings.decode(values, "utf-8", "backslashreplace")
    if values.dtype.kind not in "iubU":
        raise UserError(f"{what} of {values.dtype}, expected text or whole numbers")
    return [unicodedata.normalize("NFC", str(value)) for value in values.tolist()]


def _read_ts(path: Path) -> list[Example]:
    return [
        Example(values, name, f"{path}, line {line}")
        for values, name, line in read_ts(path.read_bytes())
    ]


def _check_names(examples: list[Example]) -> None:
    for name in sorted({example.name for example in examples}, key=natural):
        if not name.strip() or not is_name(name):
            what = "the name of a class must be printable, and not empty"
            raise UserError(f"class {name!r}: {what}")


def _read_folders(folder: Path, ending: str, problems: list[str]) -> tuple[Part, Part]:
    """Read a file a sequence, in the folder of its class or of a group within that."""
    found = find(folder, problems, (ending,), "sequence", (2, 3))
    names = {
        path: name
        for classes in found.values()
        for name in sorted(classes, key=natural)
        for path in classes[name]
    }
    train, test = (Part(folder / name, []) for name in found)
    deep = {path: len(path.relative_to(folder).parts) == 4 for path in names}
    if len({*deep.values()}) == 2:
        first, other = (next(p for p in deep if deep[p] == is_deep) for is_deep in (0, 1))
        problems.append(
            f"{other}: in a folder within its class, as of a group, but {first} is in none"
        )
        return train, test
    if not found["train"]:
        expected = f"a folder for each class, {folder}/train/CLASS/NAME{ending}"
        problems.append(f"{train.source}: no sequences; expected {expected}")
    features: Sequence[str] = ()
    for path, table in _read_tables([*names], str(folder), problems).items():
        group = unicodedata.normalize("NFC", path.parent.name) if deep[path] else ""
        part = train if path.is_relative_to(train.source) else test
        part.examples.append(Example(table.values, names[path], str(path), group))
        features = table.names
    return train._replace(features=features), test


def _read_tables(paths: list[Path], title: str, problems: list[str]) -> dict[Path, Table]:
    """Read files of one sequence each, with a progress bar of this ``title``."""
    tables: dict[Path, Table] = {}
    notes: dict[str, list[Path]] = defaultdict(list)
    with (
        mapped(_read_file, paths, torch.get_num_threads()) as results,
        bar(len(paths), title, " sequences") as progress,
    ):
        for path, table in zip(paths, results, strict=True):
            progress.update()
            if isinstance(table, str):
                problems.append(f"{path}: {table}")
                continue
            tables[path] = table
            for note in table.notes:
                notes[note].append(path)
    for note, noted in notes.items():
        tell(note, noted)
    problems += _unlike(tables)
    return tables


def _read_file(path: Path) -> Table | str:
    """Read a file of one sequence, or say why it cannot be read."""
    try:
        return read_table(path)
    except UserError as error:
        return str(error)


def read_table(path: Path) -> Table:
    """Read a file of one sequence: CSV, or an array [L x Q] or [L] in ``.npy``.

    Raises:
        UserError: says what is wrong with it, without its name.
    """
    try:
        if path.suffix.lower() != ".npy":
            return read_csv(path.read_bytes())
        values = load(path)
    except OSError as error:
        raise UserError(error.strerror or str(error)) from None
    if not isinstance(values, np.ndarray):
        raise UserError("several arrays, expected one")
    return table_of(values)


def table_of(values: np.ndarray) -> Table:
    """Return an array [L x Q] or [L] as a sequence.

    Raises:
        UserError: it has other dimensions, or holds no numbers.
    """
    if values.ndim not in (1, 2):
        expected = "[steps x values] or [steps]"
        raise UserError(f"an array {list(values.shape)}, expected {expected}")
    values = values[:, None] if values.ndim == 1 else values
    numbers = to_float32(values)
    return Table(numbers, (), (COARSE,) * blurs(values))


def _unlike(tables: Mapping[Path, Table]) -> list[str]:
    """Return a line for each file whose columns are not those of most."""
    columns = {path: _columns(table) for path, table in tables.items()}
    if not columns:
        return []
    most = Counter(columns.values()).most_common(1)[0][0]
    like = next(path for path, found in columns.items() if found == most)
    return [
        f"{path}: {found}, but {like} has {most}"
        for path, found in columns.items()
        if found != most
    ]


def _columns(table: Table) -> str:
    n, named = table.values.shape[1], ", ".join(table.names) or "no names"
    return f"{n:,} column{'s' * (n > 1)} ({named})"
