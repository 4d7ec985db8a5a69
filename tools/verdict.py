"""What a change does to the outputs, and whether it matters: how a review begins."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

import pandas as pd
from scipy import stats

from mnist_lstm.runs import in_full, percent, read
from seeds import difference

CLASSES = "plots/confusion.csv"  # actual and predicted class: a row a test image
TEST_IMAGES = "data/prepared/test.safetensors"
LONGEST = 20  # names of a list
SHOWN = 6  # of the test examples that flipped either way
SPLITS = {"valid": "validation", "test": "test"}

Params = Mapping[str, Mapping[str, Any]]

# Code and parameters that a run leaves aside: when, by its parameters, and why.
UNUSED: list[tuple[str, Callable[[Any], bool], str]] = [
    (
        "src/mnist_lstm/training/augmentation.py augment.fade",
        lambda p: not any(v for key, v in p["augment"].items() if key != "fade"),
        "every amplitude in `augment` is 0",
    ),
    (
        "src/mnist_lstm/training/muon.py train.muon_lr train.momentum",
        lambda p: p["train"]["optimizer"] != "muon",
        "`train.optimizer` is not muon",
    ),
    (
        "train.warmup train.final_lr",
        lambda p: p["train"]["schedule"] == "constant",
        "`train.schedule` is constant",
    ),
    (
        "prepare.valid_split",
        lambda p: p["prepare"]["valid_size"] == 0,
        "`prepare.valid_size` is 0",
    ),
    (
        "src/mnist_lstm/data/imagefolder.py src/mnist_lstm/data/picture.py "
        "prepare.picture prepare.height prepare.width prepare.test_size",
        lambda p: p["data"]["name"] != "own",
        "`data.name` is not own",
    ),
]


class Side(NamedTuple):
    """One of the two states that are compared, as Git holds it."""

    inputs: dict[str, list[str]]  # stage: the files, folders and parameters that it reads
    outputs: dict[str, str]  # what the stages wrote: its checksum in dvc.lock
    stale: dict[str, list[str]]  # stage that dvc.lock does not describe: what makes it so
    classes: pd.DataFrame  # actual and predicted class of each test image
    params: Params
    code: str  # a name of the code that decides an accuracy, as rows of runs have it


def not_run(new: Side, changed: list[str]) -> str:
    """Say which stages have to run, and what makes them."""
    lines = ["**Not run: `dvc repro`, then look again.** dvc.lock does not belong to:\n"]
    for stage, causes in new.stale.items():
        found = [[n for n in changed if within(cause, n)] or [cause] for cause in causes]
        names = listed([*chain.from_iterable(found)])
        lines.append(f"- {stage}: {names or 'it never ran'}")
    return "\n".join(lines)


def verdict(
    old: Side, new: Side, changed: list[str], rows: pd.DataFrame, recorded: set[str]
) -> str:
    """Say which outputs moved, whether that matters, and what of ``changed`` did it.

    Args:
        old: the base.
        new: the workspace, which was run.
        changed: the files and parameters that differ.
        rows: training runs, see :mod:`mnist_lstm.runs`.
        recorded: the files and folders whose edit `make same` recorded without a run.
    """
    written = old.outputs.keys() | new.outputs.keys()
    found = [(name, readers(name, old, new)) for name in changed if name not in written]
    causes = {name: ", ".join(stages) for name, stages in found if stages}
    told = listed(causes, causes)
    if not (outputs := moved(old, new)):
        if not causes:
            return "No output moved, and nothing that a stage reads has changed."
        why = " ".join(explanations(new.params, set(causes), recorded))
        return f"No output moved, though this changed: {told}. {why}"
    parts = [
        compare(old, new, set(causes), rows),
        flips(old, new),
        f"Changed: {told or 'nothing that a stage reads'}.",
        f"Outputs that moved: {listed(outputs)}.",
    ]
    return "\n\n".join(filter(None, parts))


def explanations(params: Params, causes: set[str], recorded: set[str]) -> Iterator[str]:
    """Yield why no output moved, as far as it can be told."""
    proven = {name for name in causes if any(within(path, name) for path in recorded)}
    left = causes - proven
    for names, is_unused, why in UNUSED:
        if (unused := sorted(causes & set(names.split()))) and is_unused(params):
            left -= set(unused)
            yield f"This run does not use {listed(unused)}: {why}."
    if proven:
        yield f"Recorded without a run by `make same`: {listed(sorted(proven))}."
    if left:
        yield "Every output is the same to the bit: what else changed alters nothing here."


def compare(old: Side, new: Side, causes: set[str], rows: pd.DataFrame) -> str:
    """Compare two models on the same test examples, beside what chance does by seeds."""
    if old.classes.empty or new.classes.empty:
        return f"Test accuracy is not compared: {CLASSES} is missing on one side."
    same = old.outputs.get(TEST_IMAGES) == new.outputs.get(TEST_IMAGES)
    if not same or not old.classes.actual.equals(new.classes.actual):
        return "Test accuracy is not compared: the test examples are not the same."
    before, after = (right(side).mean() for side in (old, new))
    if old.classes.equals(new.classes):
        return f"Test accuracy {after:.2%}, as before: each example is predicted the same."
    points = 100 * (after - before)
    change = f"Test accuracy {before:.2%} -> {after:.2%}, {points:+.2f} points"
    if over_seeds := compare_seeds(old, new, rows):
        return f"{over_seeds}\n\nOf the two committed runs: {change}."
    found = seeds_of(old, new, rows)
    spread = (
        f"seeds of this recipe differ by {100 * found.std():.2f} "
        f"(standard deviation, n = {len(found)})"
    )
    if causes == {"train.seed"}:
        beside = "" if found.empty else f"; {spread}"
        return f"{change}: only the seed differs, so this is noise{beside}."
    if found.empty:
        return f"{change}; {mcnemar(old, new)}"
    # Of two runs, each with its own chance; t, as the deviation is known by few.
    most = 100 * found.std() * 2**0.5 * stats.t.ppf(0.975, len(found) - 1)
    side = "within" if abs(points) <= most else "beyond"
    noise = f"{side} noise (two runs differ by less than {most:.2f} in 19 of 20 cases)"
    return f"{change}; {spread}: {noise}."


def compare_seeds(old: Side, new: Side, rows: pd.DataFrame) -> str:
    """Compare the means over seeds, where `make seeds` has trained both; else ""."""
    for split, name in SPLITS.items():
        pair = [runs_of(side, rows, split, side.code).accuracy for side in (old, new)]
        if min(map(len, pair)) > 1:
            counts = " and ".join(str(len(found)) for found in pair)
            return (
                f"Over {counts} seeds, on the {name} split: {percent(pair[0])} -> "
                f"{percent(pair[1])}, {difference(*pair)}."
            )
    return ""


def seeds_of(old: Side, new: Side, rows: pd.DataFrame) -> pd.Series:
    """Return accuracies over seeds with the new parameters, else the old; any code."""
    for side in (new, old):
        for split in ("test", "valid"):
            if len(found := runs_of(side, rows, split).accuracy) > 2:
                return found
    return pd.Series(dtype=float)


def runs_of(side: Side, rows: pd.DataFrame, split: str, code: str = "") -> pd.DataFrame:
    """Return the runs with the parameters of ``side``, and with its ``code`` if named.

    The size of a validation split does not count among those that were run on one, nor,
    where any code will do, what they were computed on.
    """
    free = {"prepare.valid_size"} if split == "valid" else set()
    free |= set() if code else {"train.device", "train.precision"}

    def kind(words: str) -> set[tuple[str, str]]:
        return {(key, value) for key, value in read(words).items() if key not in free}

    wanted = kind(in_full(side.params))
    rows = rows[rows["split"] == split]
    rows = rows[rows.code == code] if code else rows
    return rows.loc[[kind(words) == wanted for words in rows.params]]


def mcnemar(old: Side, new: Side) -> str:
    """Say what McNemar's exact test says, and what measures more."""
    wrong, right = (len(found) for found in flipped(old, new))
    p = float(stats.binomtest(right, wrong + right).pvalue) if wrong + right else 1.0
    value = "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
    return (
        f"exact McNemar {value}.\n\np is about these "
        "two models on this test set. Another seed alone often moves as many images, so p "
        "does not say which way of training is better; `make seeds`, which trains both "
        "with several seeds, does."
    )


def right(side: Side) -> pd.Series:
    """Return whether each test example is predicted right."""
    return side.classes.actual == side.classes.predicted


def flipped(old: Side, new: Side) -> tuple[pd.Index, pd.Index]:
    """Return the test examples that are newly wrong, and those that are newly right."""
    before, after = right(old), right(new)
    return before.index[before & ~after], before.index[~before & after]


def flips(old: Side, new: Side) -> str:
    """Say which test examples flipped, the commonest pairs of classes first; else ""."""
    if len(old.classes) != len(new.classes) or old.classes.equals(new.classes):
        return ""
    lines = []
    misread = {"wrong": new.classes, "right": old.classes}
    for (what, classes), images in zip(misread.items(), flipped(old, new), strict=True):
        pairs = Counter(classes.loc[images].itertuples(index=False, name=None))
        text = ", ".join(f"`{a}` as `{b}` ({n})" for (a, b), n in pairs.most_common(3))
        named = ", ".join(map(str, images[:SHOWN]))
        most = text and f", most often {text}; such as {named}"
        lines.append(f"- Newly {what}: {len(images):,}{most}")
    return "\n".join(lines)


def moved(old: Side, new: Side) -> list[str]:
    """Return the outputs whose checksums differ, or that only one side has."""
    return sorted({path for path, _ in old.outputs.items() ^ new.outputs.items()})


def readers(name: str, old: Side, new: Side) -> list[str]:
    """Return the stages that read the file or the parameter ``name``."""
    if name == "dvc.yaml":
        return ["the pipeline"]
    inputs = [*new.inputs.items(), *old.inputs.items()]
    found = [stage for stage, paths in inputs if any(within(path, name) for path in paths)]
    return list(dict.fromkeys(found))


def within(path: str, name: str) -> bool:
    """Return whether ``name`` is ``path`` or lies in it: in a folder, or in a section."""
    in_section = "/" not in name and name.startswith(f"{path}.")
    return name == path or name.startswith(f"{path}/") or in_section


def listed(names: Iterable[str], notes: Mapping[str, str] | None = None) -> str:
    """Return ``names`` in a sentence, each with its note; the first ones, if many."""
    told = [f"`{name}`" + (f" ({notes[name]})" if notes else "") for name in names]
    left = len(told) - LONGEST
    return ", ".join(told[:LONGEST] + ([f"{left} more"] if left > 0 else []))
