"""What a change does to the outputs, and whether it matters: how a review begins."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

import pandas as pd
from scipy import stats

from mnist_lstm.runs import in_full, percent, read
from seeds import difference

CLASSES = "plots/confusion.csv"  # actual and predicted class: a row a test image
TEST_IMAGES = "data/prepared/test.safetensors"
LONGEST = 20  # names of a list
SHEET = 12  # test examples that are named or shown
SPLITS = {"valid": "validation", "test": "test"}

Classes = list[tuple[str, str]]
Params = Mapping[str, Mapping[str, Any]]

# Code and parameters that a run leaves aside: when, by its parameters, and why.
UNUSED: list[tuple[tuple[str, ...], Callable[[Any], bool], str]] = [
    (
        ("src/mnist_lstm/training/augmentation.py", "augment.fade"),
        lambda p: not any(v for key, v in p["augment"].items() if key != "fade"),
        "every amplitude in `augment` is 0",
    ),
    (
        ("src/mnist_lstm/training/muon.py", "train.muon_lr", "train.momentum"),
        lambda p: p["train"]["optimizer"] != "muon",
        "`train.optimizer` is not muon",
    ),
    (
        ("train.warmup", "train.final_lr"),
        lambda p: p["train"]["schedule"] == "constant",
        "`train.schedule` is constant",
    ),
    (
        ("prepare.valid_split",),
        lambda p: p["prepare"]["valid_size"] == 0,
        "`prepare.valid_size` is 0",
    ),
    (
        (
            *("src/mnist_lstm/data/imagefolder.py", "src/mnist_lstm/data/picture.py"),
            *("prepare.picture", "prepare.height", "prepare.width", "prepare.test_size"),
        ),
        lambda p: p["data"]["name"] != "own",
        "`data.name` is not own",
    ),
]


class Side(NamedTuple):
    """One of the two states that are compared, as Git holds it."""

    inputs: dict[str, list[str]]  # stage: the files, folders and parameters that it reads
    outputs: dict[str, str]  # what the stages wrote: its checksum in dvc.lock
    stale: dict[str, list[str]]  # stage that dvc.lock does not describe: what makes it so
    classes: Classes  # actual and predicted class of each test image
    params: Params
    code: str  # a name of the code that decides an accuracy, as rows of runs have it


def not_run(new: Side, changed: list[str]) -> str:
    """Say which stages have to run, and what makes them."""
    lines = ["**Not run: `dvc repro`, then look again.** dvc.lock does not belong to:\n"]
    for stage, causes in new.stale.items():
        found = [[n for n in changed if within(cause, n)] or [cause] for cause in causes]
        names = [f"`{name}`" for name in chain.from_iterable(found)]
        lines.append(f"- {stage}: {listed(names) or 'it never ran'}")
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
    causes = {name: stages for name, stages in found if stages}
    told = listed([f"`{name}` ({', '.join(stages)})" for name, stages in causes.items()])
    if not (outputs := moved(old, new)):
        if not causes:
            return "No output moved, and nothing that a stage reads has changed."
        why = " ".join(explanations(new.params, set(causes), recorded))
        return f"No output moved, though this changed: {told}. {why}"
    parts = [
        compare(old, new, set(causes), rows),
        flips(old, new),
        f"Changed: {told or 'nothing that a stage reads'}.",
        f"Outputs that moved: {listed([f'`{name}`' for name in outputs])}.",
    ]
    return "\n\n".join(filter(None, parts))


def explanations(params: Params, causes: set[str], recorded: set[str]) -> Iterator[str]:
    """Yield why no output moved, as far as it can be told."""
    left = set(causes)
    proven = {name for name in causes if any(within(path, name) for path in recorded)}
    for names, is_unused, why in UNUSED:
        if (unused := sorted(causes & set(names))) and is_unused(params):
            left -= set(unused)
            yield f"This run does not use {listed([f'`{n}`' for n in unused])}: {why}."
    if proven:
        files = listed([f"`{name}`" for name in sorted(proven)])
        yield f"Recorded without a run by `make same`: {files}."
    if left - proven:
        yield "Every output is the same to the bit: what else changed alters nothing here."


def compare(old: Side, new: Side, causes: set[str], rows: pd.DataFrame) -> str:
    """Compare two models on the same test examples, beside what chance does by seeds."""
    if not old.classes or not new.classes:
        return f"Test accuracy is not compared: {CLASSES} is missing on one side."
    if old.outputs.get(TEST_IMAGES) != new.outputs.get(TEST_IMAGES) or (
        [actual for actual, _ in old.classes] != [actual for actual, _ in new.classes]
    ):
        return "Test accuracy is not compared: the test examples are not the same."
    before, after = (sum(a == b for a, b in s.classes) / len(s.classes) for s in (old, new))
    if old.classes == new.classes:
        return f"Test accuracy {after:.2%}, as before: each example is predicted the same."
    points = 100 * (after - before)
    change = f"Test accuracy {before:.2%} -> {after:.2%}, {points:+.2f} points"
    if over_seeds := compare_seeds(old, new, rows):
        return f"{over_seeds}\n\nOf the two committed runs: {change}."
    spread = spread_of(old, new, rows)
    if causes == {"train.seed"}:
        return (
            f"{change}: only the seed differs, so this is noise{spread and f'; {spread}'}."
        )
    if spread:
        return f"{change}; {spread}: {noise(points, old, new, rows)}."
    return f"{change}; {mcnemar(old, new)}"


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


def spread_of(old: Side, new: Side, rows: pd.DataFrame) -> str:
    """Say how far seeds of a recipe, the new one or else the old, are apart; else ""."""
    if len(found := seeds_of(old, new, rows)) < 3:
        return ""
    deviation = 100 * found.std()
    return (
        f"seeds of this recipe differ by {deviation:.2f} "
        f"(standard deviation, n = {len(found)})"
    )


def noise(points: float, old: Side, new: Side, rows: pd.DataFrame) -> str:
    """Say whether two runs with other seeds would differ by so many ``points``, too."""
    found = seeds_of(old, new, rows)
    # Of two runs, each with its own chance; t, as the deviation is known by few.
    most = 100 * found.std() * 2**0.5 * stats.t.ppf(0.975, len(found) - 1)
    side = "within" if abs(points) <= most else "beyond"
    return f"{side} noise (two runs differ by less than {most:.2f} in 19 of 20 cases)"


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
    return rows.loc[[i for i, words in rows.params.items() if kind(words) == wanted]]


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


def flipped(old: Side, new: Side) -> tuple[list[int], list[int]]:
    """Return the test examples that are newly wrong, and those that are newly right."""
    pairs = zip(old.classes, new.classes, strict=True)
    right = [(a == b, a == c) for (a, b), (_, c) in pairs]
    wrong = [i for i, found in enumerate(right) if found == (True, False)]
    return wrong, [i for i, found in enumerate(right) if found == (False, True)]


def sheet(old: Side, new: Side) -> list[int]:
    """Return the images to look at: as many newly wrong as newly right, if there are."""
    wrong, right = flipped(old, new)
    n_wrong = max(SHEET // 2, SHEET - len(right))
    wrong = wrong[:n_wrong]
    return wrong + right[: SHEET - len(wrong)]


def flips(old: Side, new: Side) -> str:
    """Say which test examples flipped, the commonest pairs of classes first; else ""."""
    if len(old.classes) != len(new.classes) or old.classes == new.classes:
        return ""
    wrong, right = flipped(old, new)
    shown = sheet(old, new)
    lines = [
        told_flips("Newly wrong", wrong, new.classes, shown),
        told_flips("Newly right", right, old.classes, shown),
    ]
    return "\n".join(lines)


def told_flips(what: str, images: list[int], misread: Classes, shown: list[int]) -> str:
    """Return how many flipped, as what they are or were misread, and some by number."""
    pairs = Counter(misread[i] for i in images).most_common(3)
    text = ", ".join(f"`{a}` as `{b}` ({n})" for (a, b), n in pairs)
    named = ", ".join(str(i) for i in images if i in shown)
    return f"- {what}: {len(images):,}{text and f', most often {text}; such as {named}'}"


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


def listed(names: list[str]) -> str:
    """Return ``names`` in a sentence; the first ones, if they are many."""
    left = len(names) - LONGEST
    return ", ".join(names[:LONGEST] + ([f"{left} more"] if left > 0 else []))
