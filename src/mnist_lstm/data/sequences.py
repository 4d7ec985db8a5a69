"""Own sequences: checked, a test split drawn where there is none, made splits of float32.

They come one of three ways: ``own/train.npz`` with arrays ``x`` and ``y``; a CSV or
``.npy`` a sequence in ``own/train/CLASS``, or in ``own/train/CLASS/GROUP``; or
``own/train.ts``. What is tested on lies in the same way under the name ``test``.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mnist_lstm.data.arrays import missing_in
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
from mnist_lstm.data.sequencefiles import Example, Part, read_parts
from mnist_lstm.data.splits import Split
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.files import misspelt
from mnist_lstm.plumbing.params import PrepareParams


def read_splits(folder: Path, ending: str, params: PrepareParams) -> tuple[Split, Split]:
    """Read the train and the test split in ``folder``; print what is odd.

    Without test data ``params.test_size`` of the train data are tested on: of each class
    or, where there are groups, whole groups. ``ending``: .npz, .ts, or that of a file a
    sequence.

    Raises:
        UserError: a line for each thing wrong.
    """
    problems = misspelt(folder)
    train, test = read_parts(folder, ending, problems)
    refuse(problems or _faults(train, test, params.missing))
    if test.examples:
        both = _groups(train.examples) & _groups(test.examples)
        shared = sorted(both, key=natural)
        tell(f"{folder}: groups both in train and in test", shared)
        learnt, tested = train.examples, test.examples
    else:
        learnt, tested = _draw_test(folder / "test", train, params)
    _tell_doubles(learnt, tested)
    names, tested_names = ([e.name for e in examples] for examples in (learnt, tested))
    classes = sorted({*names}, key=natural)
    tell_odd_classes(folder, classes, names, tested_names, "sequence")
    lengths = {len(e.values) for e in (*learnt, *tested)}
    first, second = (
        _split(examples, classes, lengths, train.features) for examples in (learnt, tested)
    )
    return first, second


def _faults(train: Part, test: Part, missing: str) -> list[str]:
    """Return a line for each thing that makes no sense in data that could be read."""
    problems: list[str] = []
    names = {e.name for e in train.examples}
    places = {e.name: f"{e.place}, class {e.name!r}" for e in reversed(test.examples)}
    check_classes(train.source, names, places, problems, "sequence")
    expected = train.examples[0].values.shape[1]
    for source, examples, _ in filter(lambda part: part.examples, (train, test)):
        q = examples[0].values.shape[1]
        if q != expected:
            like = f"{train.source} has {expected:,}"
            problems.append(f"{source}: {q:,} values in a step, but {like}")
        known = np.zeros(q, bool)
        for values, _, place, _ in examples:
            here = ~np.isnan(values)
            known |= here.any(0)
            if not here.any():
                problems.append(f"{place}: without any value")
            elif missing == "refuse" and not here.all():
                what = missing_in(values, train.features)
                problems.append(f"{place}: {what}; `prepare.missing: mean` fills them")
        never = np.flatnonzero(~known) + 1
        problems += (f"{source}: column {i} has no value in any sequence" for i in never)
    return problems


def _draw_test(
    test: Path, train: Part, params: PrepareParams
) -> tuple[list[Example], list[Example]]:
    """Split off ``params.test_size``: whole groups or, without any, of each class."""
    share, source, examples = params.test_size, train.source, train.examples
    names, contents = [e.name for e in examples], _contents(examples)
    if _groups(examples):
        held = drawn_groups(names, [e.group for e in examples], share, params.seed)
        if not any(held):
            raise UserError(
                f"{test}: no sequences, and no group of {source} can be held out whole: "
                "each is the only one of a class; add test data"
            )
    else:
        different = Counter(name for name, _ in {*zip(names, contents, strict=True)})
        refuse(
            [
                f"{source}, class {name!r}: one sequence; without {test} a class needs two "
                "that differ"
                for name in sorted(different, key=natural)
                if different[name] == 1
            ]
        )
        held = drawn(names, contents, share, params.seed)
    learnt, tested = (
        [e for e, is_out in zip(examples, held, strict=True) if is_out == out]
        for out in (False, True)
    )
    if groups := sorted(_groups(tested), key=natural):
        what = f"{np.mean(held):.0%} of {source} are held out for testing, as groups"
        tell(f"{test}: no sequences; {what}", groups)
    else:
        what = f"{share:.0%} of each class of {source} is held out for testing"
        print(f"{test}: no sequences; {what}")
    return learnt, tested


def _groups(examples: list[Example]) -> set[str]:
    return {e.group for e in examples} - {""}


def _contents(examples: list[Example]) -> list[str]:
    """Return a hash of each sequence."""
    return [hashed(e.values.tobytes()) for e in examples]


def _tell_doubles(train: list[Example], test: list[Example]) -> None:
    """Tell of sequences in both splits, or in two classes: faults, unless nothing moved."""
    first: dict[str, Example] = {}
    odd = []
    for content, example in zip(_contents(train), train, strict=True):
        same = first.setdefault(content, example)
        if same.name != example.name:
            odd.append(f"{example.place} as {same.place}")
    tell("the same sequence in two classes", odd)
    both = [
        f"{example.place} as {first[content].place}"
        for content, example in zip(_contents(test), test, strict=True)
        if content in first
    ]
    tell("the same sequence in test and in train", both)


def _split(
    examples: list[Example],
    classes: list[str],
    lengths: set[int],
    features: Sequence[str],
) -> Split:
    """Return ``examples`` with 0 behind their ends, up to the largest of ``lengths``."""
    number = {name: i for i, name in enumerate(classes)}
    x = np.zeros((len(examples), max(lengths), examples[0].values.shape[1]), np.float32)
    for row, example in zip(x, examples, strict=True):
        row[: len(example.values)] = example.values
    own = torch.tensor([len(e.values) for e in examples])
    return Split(
        torch.from_numpy(x),
        torch.tensor([number[e.name] for e in examples]),
        tuple(classes),
        picture="",
        lengths=own if len(lengths) > 1 else None,
        groups=tuple(e.group for e in examples) if _groups(examples) else (),
        scaling={"features": features} if features else {},
    )
