"""One's own data in ``own/``: of which kind they are, and read into splits."""

from collections import Counter
from pathlib import Path

from mnist_lstm.data import imagefolder, sequences
from mnist_lstm.data.splits import Split
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import PrepareParams

TABLES = (".csv", ".tsv", ".txt", ".npy")  # a file a sequence
WHOLE = (".npz", ".ts")  # a file a split
KNOWN = ("", ".md", ".dvc")  # that nobody takes for data


def read_splits(folder: Path, params: PrepareParams) -> tuple[Split, Split]:
    """Read the train and the test split in ``folder``, images or sequences.

    Raises:
        UserError: a line for each thing wrong.
    """
    kind = kind_of(folder)
    if kind == "images":
        return imagefolder.read_splits(folder, params)
    return sequences.read_splits(folder, kind, params)


def kind_of(folder: Path) -> str:
    """Return "images", or with what the names of the files of sequences end.

    A text file beside others is no data. What lies in no folder of a class counts only
    where nothing else does: so its own place is what is refused.

    Raises:
        UserError: nothing, or data of two kinds.
    """
    inside, beside, others = dict[str, Path](), dict[str, Path](), Counter[str]()
    for path in sorted(folder.rglob("*"), key=lambda path: (len(path.parts), path)):
        *above, name = path.relative_to(folder).parts
        ending = path.suffix.lower()
        if path.is_symlink() and path.is_dir():
            beside.setdefault("images", path)  # which are refused by its name
        if path.is_dir() or any(part[0] == "." for part in (*above, name)):
            continue
        if ending in WHOLE and not above:
            if name not in (f"train{ending}", f"test{ending}"):
                expected = f"{folder}/train{ending} and {folder}/test{ending}"
                raise UserError(f"{path}: expected {expected}")
            inside.setdefault(ending, path)
        elif ending in (*TABLES, *imagefolder.ENDINGS):
            kind = ending if ending in TABLES else "images"
            in_class = len(above) > 1 and above[0] in ("train", "test")
            (inside if in_class else beside).setdefault(kind, path)
        elif ending not in KNOWN:
            others[ending] += 1
    found = inside or beside
    if len(found) > 1:
        found.pop(".txt", None)
    if len(found) > 1:
        first, second, *_ = found.values()
        raise UserError(f"{folder}: data of two kinds, {first} and {second}; keep one kind")
    if not found:
        unread = "".join(f", and {e} is not read" for e, _ in others.most_common(1))
        raise UserError(
            f"{folder}: no images and no sequences{unread}; docs/your-own.md says where "
            f"they are expected, such as {folder}/train/CLASS/IMAGE (`dvc exp run --temp` "
            "and `--queue` see only what Git or DVC tracks)"
        )
    return next(iter(found))
