"""Own data in folders, a folder a class: found, drawn from, and what is odd told.

Images and sequences share this. Neither the order in which a file system lists files nor
the locale changes a byte.
"""

import hashlib
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from natsort import natsort_keygen

from mnist_lstm.plumbing.errors import UserError, printable

KNOWN = ("readme.md", ".dvc")  # ends of names that nobody wonders at
MOST_TOLD = 20  # faults
UNFIT = {  # in a name: what breaks a line, and what turns the direction of all that follows
    *("Cc", "Cs", "Zl", "Zp"),
    *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
}


def find(
    folder: Path,
    problems: list[str],
    endings: tuple[str, ...],
    what: str = "image",
    depths: tuple[int, ...] = (2,),
) -> dict[str, dict[str, list[Path]]]:
    """Return the files of each class of the train and the test split, in their order.

    Args:
        folder: with ``train/CLASS`` and ``test/CLASS`` in it.
        problems: a line is added for each thing wrong.
        endings: of the names of the files, in lower case.
        what: they are.
        depths: of the files: 2, in the folder of their class, or 3, in one within it.
    """
    found: dict[str, dict[str, list[Path]]] = {"train": {}, "test": {}}
    beside, empty, others = [], [], []
    for root, folders, files in os.walk(folder):
        here = Path(root)
        inner, paths = (
            [here / name for name in sorted(names, key=natural) if name[0] != "."]
            for names in (folders, files)
        )
        problems += [
            f"{path}: a link to a folder, and DVC does not look into it; copy it"
            for path in (here, *inner)
            if path.is_symlink()
        ]
        if here == folder:
            beside = [path for path in inner if path.name not in found]
            inner = [path for path in inner if path.name in found]
        folders[:] = [path.name for path in inner]  # to look into
        fit = [path for path in paths if path.name.lower().endswith(endings)]
        others += [p for p in paths if not p.name.lower().endswith((*endings, *KNOWN))]
        part, *inside = here.relative_to(folder).parts or ("",)
        if 1 + len(inside) not in depths:
            expected = f"{folder}/train/CLASS/{what.upper()}"
            problems += [
                f"{path}: in no folder of a class; expected {expected}" for path in fit
            ]
        elif fit:
            name = unicodedata.normalize("NFC", inside[0])  # macOS spells it otherwise
            found[part].setdefault(name, []).extend(fit)
            if not is_name(name):
                problems.append(f"{here}: the name of a class must be printable")
        elif not (inner and 2 + len(inside) in depths):
            empty.append(here)
    tell(f"{folder}: neither its train nor its test, left out", beside)
    tell(f"{folder}: no {what}s, left out", empty)
    tell(f"{folder}: no {what}s by their names, left out", others)
    return found


def check_classes(
    source: Path,
    train: Collection[str],
    test: Mapping[str, object],
    problems: list[str],
    what: str = "image",
) -> None:
    """Add a line for each class of ``test``, name to place, that ``train`` lacks."""
    problems += [
        f"{place}: a class of which {source} has no {what}"
        for name, place in test.items()
        if name not in train
    ]
    if not 2 <= len(train) <= 1000:
        found = f"{len(train):,} class" + "es" * (len(train) != 1)
        place = "" if train else f", each a folder {source}/CLASS"
        problems.append(f"{source}: {found} with {what}s, expected 2 to 1,000{place}")


def refuse(problems: list[str]) -> None:
    """Raise a UserError of the first ``problems`` and the count of the rest, if any."""
    if problems:
        more = len(problems) - MOST_TOLD
        counted = [f"and {more:,} more"] if more > 0 else []
        raise UserError(*problems[:MOST_TOLD], *counted)


def drawn(
    names: Sequence[str], contents: Sequence[str], share: float, seed: int
) -> list[bool]:
    """Say of each example whether it is in a ``share`` of its class that is drawn.

    At least one is drawn, at most all but one; what has the same content stays together.
    The hash of a content and of the seed decides. So an example that is added, removed or
    renamed moves hardly another from one split to the other.
    """
    members = defaultdict(set)
    for name, content in zip(names, contents, strict=True):
        members[name].add(content)
    chosen = {}
    for name, held in members.items():
        ordered = sorted(held, key=lambda content: hashed(f"{seed} {content}".encode()))
        n = min(max(1, round(share * len(held))), len(held) - 1)
        chosen[name] = set(ordered[:n])
    return [content in chosen[name] for name, content in zip(names, contents, strict=True)]


def drawn_groups(
    names: Sequence[str], groups: Sequence[str], share: float, seed: int
) -> list[bool]:
    """Say of each example whether its group is drawn; together some ``share`` of all.

    Of each class an example is left. The hash of a group's name and of the seed decides, so
    another group moves hardly any. None is drawn where each is needed for a class.
    """
    classes: dict[str, Counter[str]] = defaultdict(Counter)
    for name, group in zip(names, groups, strict=True):
        classes[group][name] += 1
    left, n, wanted = Counter(names), 0, share * len(names)
    chosen: set[str] = set()

    def fits(group: str) -> bool:
        return all(left[name] > count for name, count in classes[group].items())

    ordered = sorted(classes, key=lambda group: hashed(f"{seed} {group}".encode()))
    for group in ordered:
        size = classes[group].total()
        if fits(group) and abs(n + size - wanted) < abs(n - wanted):
            chosen.add(group)
            left -= classes[group]
            n += size
    if not chosen:  # each is more than twice what is wanted
        some = filter(fits, ordered)
        chosen = set(sorted(some, key=lambda group: classes[group].total())[:1])
    return [group in chosen for group in groups]


def tell_odd_classes(
    folder: Path,
    classes: Sequence[str],
    train: Sequence[str],
    test: Sequence[str],
    what: str = "image",
) -> None:
    """Tell which ``classes`` look alike, or are rare in the names of the examples."""
    trained, tested = Counter(train), Counter(test)
    rare = [name for name in classes if trained[name] == 1]
    tell(f"{folder / 'train'}: one {what} of a class to learn from", rare)
    untested = [name for name in classes if name not in tested]
    tell(f"{folder / 'test'}: no {what}s of a class", untested)
    alike: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        alike["".join(name.casefold().split())].append(name)
    twins = [repr(name) for names in alike.values() if len(names) > 1 for name in names]
    tell(f"{folder}: classes that differ only in case or blanks", twins)


_natsorted = natsort_keygen()


def natural(name: str) -> tuple:
    """Return a key by which 2 comes before 10, whatever the locale."""
    return _natsorted(unicodedata.normalize("NFC", name)), name


def hashed(data: bytes) -> str:
    """Return a hash of ``data`` in letters."""
    return hashlib.sha256(data).hexdigest()


def tell(what: str, which: Sequence[object]) -> None:
    """Print what is no fault and may be none that was meant, with the first names."""
    if which:
        names = ", ".join(map(str, which[:5])) + ", ..." * (len(which) > 5)
        print(printable(f"{what} ({len(which):,}): {names}"))


def is_name(text: str) -> bool:
    """Say whether a class may be called so, in a line and in a table.

    Joiners and blanks of all kinds are letters of some scripts, though Python calls them
    not printable.
    """
    return not any(
        {unicodedata.category(c), unicodedata.bidirectional(c)} & UNFIT for c in text
    )
