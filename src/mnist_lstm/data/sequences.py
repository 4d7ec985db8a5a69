"""Own sequences: checked, a test split drawn where there is none, made splits of float32.

They come one of three ways: ``own/train.npz`` with arrays ``x`` and ``y``; a CSV or
``.npy`` a sequence in ``own/train/CLASS``, or in ``own/train/CLASS/GROUP``; or
``own/train.ts``. What is tested on lies in the same way under the name ``test``.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import torch

from mnist_lstm.data.folders import (
    check_classes,
    drawn,
    drawn_groups,
    hashed,
    natural,
    refuse,
    tell,
    tell_odd_classes,
)
from mnist_lstm.data.sequencefiles import Part, read_parts
from mnist_lstm.data.splits import Split
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.files import misspelt
from mnist_lstm.plumbing.params import PrepareParams


def read_splits(folder: Path, ending: str, params: PrepareParams) -> tuple[Split, Split]:
    """Read the train and the test split in ``folder``; print what is odd.

    Without test data ``params.test_size`` of the train data are tested on: of each class
    or, where there are groups, whole groups.

    Args:
        folder: with the data.
        ending: of their files: .npz, .ts, or that of a file a sequence.
        params: how they are prepared.

    Raises:
        UserError: a line for each thing wrong.
    """
    problems, gaps = misspelt(folder), list[str]()
    train, test = read_parts(folder, ending, problems, gaps)
    if params.missing == "refuse":
        problems += [f"{gap}; `prepare.missing: mean` fills them" for gap in gaps]
    if train:
        problems += _faults(train, test)
    refuse(problems or [f"{folder}: no train data"] * (not train))
    assert train
    if test:
        shared = sorted({*train.groups} & {*test.groups}, key=natural)
        tell(f"{folder}: groups both in train and in test", shared)
    else:
        train, test = _draw_test(folder, train, params)
    _tell_doubles(train, test)
    classes = sorted({*train.names}, key=natural)
    tell_odd_classes(folder, classes, train.names, test.names, "sequence")
    length = max(train.x.shape[1], test.x.shape[1])
    equal = all((part.lengths == length).all() for part in (train, test))
    train_split, test_split = (
        _split(part, classes, length, equal) for part in (train, test)
    )
    return train_split, test_split


def _faults(train: Part, test: Part | None) -> list[str]:
    """Return a line for each thing that makes no sense in data that could be read."""
    problems: list[str] = []
    places = dict(zip(test.names[::-1], test.places[::-1], strict=True)) if test else {}
    named = {name: f"{place}, class {name!r}" for name, place in places.items()}
    check_classes(train.source, {*train.names}, named, problems, "sequence")
    for part in filter(None, (train, test)):
        gaps, q = np.isnan(part.x), part.x.shape[2]
        if q != train.x.shape[2]:
            expected = f"{train.source} has {train.x.shape[2]:,}"
            problems.append(f"{part.source}: {q:,} values in a step, but {expected}")
        empty = gaps.sum((1, 2)) == part.lengths * q
        problems += [
            f"{part.places[i]}: without any value" for i in empty.nonzero()[0].tolist()
        ]
        never = gaps.sum((0, 1)) == part.lengths.sum()
        problems += [
            f"{part.source}: column {i + 1} has no value in any sequence"
            for i in never.nonzero()[0].tolist()
        ]
    return problems


def _draw_test(folder: Path, train: Part, params: PrepareParams) -> tuple[Part, Part]:
    """Split off ``params.test_size``: whole groups or, without any, of each class."""
    test, share = folder / "test", params.test_size
    if train.groups:
        held = drawn_groups(train.names, train.groups, share, params.seed)
        if not any(held):
            raise UserError(
                f"{test}: no sequences, and no group of {train.source} can be held out "
                "whole: each is the only one of a class; add test data"
            )
        out = {group for group, is_out in zip(train.groups, held, strict=True) if is_out}
        groups = sorted(out, key=natural)
        what = f"{np.mean(held):.0%} of {train.source} are held out for testing, as groups"
        tell(f"{test}: no sequences; {what}", groups)
    else:
        contents = _contents(train)
        pairs = set(zip(train.names, contents, strict=True))
        different = Counter(name for name, _ in pairs)
        refuse(
            [
                f"{train.source}, class {name!r}: one sequence; without {test} a class "
                "needs two that differ"
                for name in sorted(different, key=natural)
                if different[name] == 1
            ]
        )
        held = drawn(train.names, contents, share, params.seed)
        print(
            f"{test}: no sequences; {share:.0%} of each class of {train.source} is held "
            "out for testing"
        )
    rest, drawn_part = (
        _take(train, np.flatnonzero(np.equal(held, t))) for t in (False, True)
    )
    return rest, drawn_part


def _take(part: Part, places: np.ndarray) -> Part:
    names, groups, where = (
        [values[i] for i in places.tolist()] if values else []
        for values in (part.names, part.groups, part.places)
    )
    lengths = part.lengths[places]
    x = part.x[places, : lengths.max()]
    return Part(part.source, x, lengths, names, groups, where, part.features)


def _contents(part: Part) -> list[str]:
    """Return a hash of each sequence."""
    return [hashed(x[:n].tobytes()) for x, n in zip(part.x, part.lengths, strict=True)]


def _tell_doubles(train: Part, test: Part) -> None:
    """Tell of sequences in both splits, or in two classes: faults, unless nothing moved."""
    first: dict[str, tuple[str, str]] = {}
    odd = []
    for content, *at in zip(_contents(train), train.names, train.places, strict=True):
        name, place = first.setdefault(content, (at[0], at[1]))
        if name != at[0]:
            odd.append(f"{at[1]} as {place}")
    tell("the same sequence in two classes", odd)
    both = [
        f"{place} as {first[content][1]}"
        for content, place in zip(_contents(test), test.places, strict=True)
        if content in first
    ]
    tell("the same sequence in test and in train", both)


def _split(part: Part, classes: list[str], length: int, equal: bool) -> Split:
    number = {name: i for i, name in enumerate(classes)}
    x = part.x
    if x.shape[1] < length:
        x = np.pad(x, ((0, 0), (0, length - x.shape[1]), (0, 0)))
    return Split(
        torch.from_numpy(np.ascontiguousarray(x)),
        torch.tensor([number[name] for name in part.names]),
        tuple(classes),
        picture="",
        lengths=None if equal else torch.from_numpy(part.lengths),
        groups=tuple(part.groups),
        scaling={"features": part.features} if part.features else {},
    )
