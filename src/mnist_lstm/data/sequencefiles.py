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

from mnist_lstm.data.arrays import COARSE, blurs, load, missing_in, to_float32
from mnist_lstm.data.csvfile import Table, read_csv
from mnist_lstm.data.folders import find, is_name, natural, tell
from mnist_lstm.data.tsfile import read_ts
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.processes import mapped
from mnist_lstm.plumbing.progress import bar


class Part(NamedTuple):
    """The train or the test data as they were found."""

    source: Path  # its file or folder
    x: np.ndarray  # float32 [N x L x Q], 0 behind a sequence's end
    lengths: np.ndarray  # int64 [N]
    names: list[str]  # of the class of each
    groups: list[str]  # of each; none where there are none
    places: Sequence[str]  # of each, for a person
    features: Sequence[str] = ()  # names of the values in a step, if any are given


def read_parts(
    folder: Path, ending: str, problems: list[str], gaps: list[str]
) -> tuple[Part | None, Part | None]:
    """Read the train and the test data in ``folder``; None for what is absent or wrong.

    Args:
        folder: with the data.
        ending: of their files: .npz, .ts, or that of a file a sequence.
        problems: a line is added for each thing wrong.
        gaps: a line is added for each file or example with missing values.
    """
    if ending not in (".npz", ".ts"):
        return _read_folders(folder, ending, problems, gaps)
    read = _read_npz if ending == ".npz" else _read_ts
    train, test = folder / f"train{ending}", folder / f"test{ending}"
    if not train.exists():
        problems.append(f"{train}: no such file, but {test}")
    first, second = (
        read(path, problems, gaps) if path.exists() else None for path in (train, test)
    )
    return first, second


def _read_npz(path: Path, problems: list[str], gaps: list[str]) -> Part | None:
    """Read ``x`` [N x L x Q] and ``y`` [N], and ``lengths`` and ``groups`` [N] if given."""
    try:
        arrays = load(path)
        if not isinstance(arrays, dict):
            raise UserError("a single array, expected x and y as np.savez writes them")
        if lacking := [name for name in ("x", "y") if name not in arrays]:
            found = ", ".join(arrays) or "nothing"
            raise UserError(f"no {' and no '.join(lacking)} in it, only {found}")
        padded = "lengths" in arrays
        x, lengths = _without_padding(arrays.pop("x"), arrays.pop("lengths", None))
        if x.ndim == 2:
            print(f"{path}: x {list(x.shape)} is read as one value a step")
            x = x[:, :, None]
        numbers = to_float32(x, "x")
        ending = np.isnan(numbers[:, -1]).all(1)
        if ending.any() and not padded:
            first = f"x[{ending.argmax()}] and {ending.sum() - 1:,} more end without values"
            raise UserError(f"{first}; if that is padding, add lengths")
        if gap := missing_in(numbers, "x"):
            gaps.append(f"{path}: {gap}")
        tell(COARSE, [path] * blurs(x, numbers))
        names = _texts("y", arrays.pop("y"), len(x))
        owners = arrays.pop("groups", None)
        groups = [] if owners is None else _texts("groups", owners, len(x))
    except UserError as error:
        problems.append(f"{path}: {error}")
        return None
    tell(f"{path}: neither x, y, lengths nor groups, left out", list(arrays))
    problems += _odd_names(path, names)
    places = [f"{path}: x[{i}]" for i in range(len(x))]
    return Part(path, numbers, lengths, names, groups, places)


def _without_padding(
    x: np.ndarray, lengths: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``x`` [N x L x ...] up to the longest, 0 behind an end, and int64 [N]."""
    if x.ndim not in (2, 3):
        raise UserError(f"x {list(x.shape)}, expected [sequences x steps x values]")
    n, most = x.shape[:2]
    if lengths is None:
        return x, np.full(n, most)
    with np.errstate(invalid="ignore"):  # of NaN
        whole = lengths.astype(np.int64) if lengths.dtype.kind in "iuf" else None
    if lengths.shape != (n,) or whole is None or (whole != lengths).any():
        what = f"{list(lengths.shape)} of {lengths.dtype}"
        raise UserError(f"lengths {what}, expected {n:,} whole numbers, as x has sequences")
    if len(odd := np.flatnonzero((whole < 1) | (whole > most))):
        raise UserError(
            f"lengths[{odd[0]}] is {whole[odd[0]]}, expected 1 to {most}, the steps of x"
        )
    longest = int(whole.max(initial=1))
    x = x[:, :longest]
    x[np.arange(longest) >= whole[:, None]] = 0
    return x, whole


def _texts(what: str, values: np.ndarray, n: int) -> list[str]:
    """Return names out of ``values`` [n]: text, or whole numbers."""
    if values.shape != (n,):
        raise UserError(f"{what} {list(values.shape)}, expected [{n:,}] as x has sequences")
    if values.dtype.kind == "f" and (np.floor(values) == values).all():
        values = values.astype(np.int64)
    if values.dtype.kind == "S":
        values = np.strings.decode(values, "utf-8", "backslashreplace")
    if values.dtype.kind not in "iubU":
        broken = values.dtype.kind == "f"
        odd = f" such as {values[np.floor(values) != values][0]}" if broken else ""
        raise UserError(f"{what} of {values.dtype}{odd}, expected text or whole numbers")
    return [unicodedata.normalize("NFC", str(value)) for value in values.tolist()]


def _read_ts(path: Path, problems: list[str], gaps: list[str]) -> Part | None:
    faults: list[str] = []
    try:
        examples, names, lines = read_ts(path.read_bytes(), faults)
    except UserError as error:
        faults.append(str(error))
    problems += [f"{path}: {fault}" for fault in faults]
    if faults or not examples:
        return None
    for values, line in zip(examples, lines, strict=True):
        if gap := missing_in(values):
            gaps.append(f"{path}, line {line}: {gap}")
    problems += _odd_names(path, names)
    places = [f"{path}, line {line}" for line in lines]
    return Part(path, *_stacked(examples), names, [], places)


def _odd_names(path: Path, names: list[str]) -> list[str]:
    return [
        f"{path}: class {name!r}: the name of a class must be printable, and not empty"
        for name in sorted({*names}, key=natural)
        if not name.strip() or not is_name(name)
    ]


def _read_folders(
    folder: Path, ending: str, problems: list[str], gaps: list[str]
) -> tuple[Part | None, Part | None]:
    """Read a file a sequence, in the folder of its class or of a group within that."""
    found = find(folder, problems, (ending,), "sequence", (2, 3))
    paths = {
        part: [
            (name, path) for name in sorted(classes, key=natural) for path in classes[name]
        ]
        for part, classes in found.items()
    }
    everywhere = [path for part in paths.values() for _, path in part]
    deep = {path: len(path.relative_to(folder).parts) == 4 for path in everywhere}
    if len({*deep.values()}) == 2:
        first, other = (next(p for p in deep if deep[p] == is_deep) for is_deep in (0, 1))
        problems.append(
            f"{other}: in a folder within its class, as of a group, but {first} is in none"
        )
        return None, None
    notes: dict[str, list[Path]] = defaultdict(list)
    tables: dict[Path, Table] = {}
    with (
        mapped(_read_file, everywhere, torch.get_num_threads()) as results,
        bar(len(everywhere), str(folder), " sequences") as progress,
    ):
        for path, table in zip(everywhere, results, strict=True):
            progress.update()
            if isinstance(table, str):
                problems.append(f"{path}: {table}")
                continue
            tables[path] = table
            for note in table.notes:
                notes[note].append(path)
            if table.missing:
                gaps.append(f"{path}: {table.missing}")
    for note, noted in notes.items():
        tell(note, noted)
    problems += _unlike(tables)
    if not paths["train"]:
        expected = f"a folder for each class, {folder}/train/CLASS/NAME{ending}"
        problems.append(f"{folder / 'train'}: no sequences; expected {expected}")
    if problems:
        return None, None
    train, test = (
        _of_files(folder / part, named, tables, any(deep.values()))
        for part, named in paths.items()
    )
    return train, test


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
        raise UserError(
            f"an array {list(values.shape)}, expected [steps x values] or [steps]"
        )
    values = values[:, None] if values.ndim == 1 else values
    numbers = to_float32(values)
    notes = (COARSE,) * blurs(values, numbers)
    return Table(numbers, (), missing_in(numbers), notes)


def _unlike(tables: Mapping[Path, Table]) -> list[str]:
    """Return a line for each file whose columns are not those of most."""
    columns = {path: (table.values.shape[1], table.names) for path, table in tables.items()}
    if not columns:
        return []
    most = Counter(columns.values()).most_common(1)[0][0]
    like = next(path for path, found in columns.items() if found == most)
    return [
        f"{path}: {_shown(*found)}, but {like} has {_shown(*most)}"
        for path, found in columns.items()
        if found != most
    ]


def _shown(n: int, names: tuple[str, ...]) -> str:
    named = ", ".join(names) if names else "no names"
    return f"{n:,} column{'s' * (n > 1)} ({named})"


def _of_files(
    source: Path,
    named: list[tuple[str, Path]],
    tables: Mapping[Path, Table],
    grouped: bool,
) -> Part | None:
    if not named:
        return None
    names, paths = zip(*named, strict=True)
    groups = [unicodedata.normalize("NFC", path.parent.name) for path in paths if grouped]
    x, lengths = _stacked([tables[path].values for path in paths])
    features = tables[paths[0]].names
    return Part(source, x, lengths, list(names), groups, list(map(str, paths)), features)


def _stacked(examples: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return ``examples`` as float32 [N x L x Q], 0 behind an end, and int64 [N]."""
    lengths = np.array([len(values) for values in examples])
    x = np.zeros((len(examples), lengths.max(), examples[0].shape[1]), np.float32)
    for row, values in zip(x, examples, strict=True):
        row[: len(values)] = values
    return x, lengths
