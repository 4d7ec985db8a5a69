"""Own images in folders, a folder a class: found, checked, and read into splits.

They lie in ``own/train/CLASS/IMAGE`` and, where the test images are chosen already, in
``own/test/CLASS/IMAGE``. The names of the folders are the names of the classes. Neither
the order in which a file system lists them nor the locale changes a byte.
"""

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from natsort import natsort_keygen
from PIL import Image

from mnist_lstm.data.decoding import (
    FORMATS,
    Greys,
    ends_of,
    greys_of,
    is_wide,
    levels,
    open_picture,
    read_file,
    scaled,
)
from mnist_lstm.data.picture import image_of
from mnist_lstm.data.splits import Split
from mnist_lstm.plumbing.errors import PictureError, UserError, printable
from mnist_lstm.plumbing.files import misspelt
from mnist_lstm.plumbing.params import PrepareParams
from mnist_lstm.plumbing.progress import bar
from mnist_lstm.plumbing.workers import mapped

ENDINGS = (
    *(end for end, kind in Image.registered_extensions().items() if kind in FORMATS),
    *(".jif", ".jfi", ".pjpeg", ".pjp"),  # JPEG, too
)
KNOWN = (*ENDINGS, "readme.md", ".dvc")  # ends of names that nobody wonders at
N_CLASS = (2, 1000)
FEW_LEVELS = 20  # of 256, between the darkest and the lightest: hardly a picture
MOST_TOLD = 20  # faults
UNFIT = {  # in a name: what breaks a line, and what turns the direction of all that follows
    *("Cc", "Cs", "Zl", "Zp"),
    *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
}


class _Image(NamedTuple):
    path: Path
    name: str  # of its class
    content: str  # a hash of its pixels: the same in a PNG and a BMP
    values: np.ndarray  # uint8 [L x Q], at first float32 where `wide`
    wide: str = ""  # the mode of a picture whose greys the data set scales, I or F
    ends: tuple[float, float] = (0, 255)  # its lowest and its highest value


def read_splits(folder: Path, params: PrepareParams) -> tuple[Split, Split]:
    """Read the train and the test split in ``folder``; print what is left out.

    Without test images, ``params.test_size`` of each class's train images are tested on.

    Raises:
        UserError: a line for each thing wrong.
    """
    problems = misspelt(folder)
    paths = _find(folder, problems)
    _check_classes(folder, paths, problems)
    train, test = (_read(folder / p, paths[p], params, problems) for p in paths)
    _check_contents([*train, *test], problems)
    train, test = map(_without_doubles, (train, test))
    if not test:
        problems += [
            f"{images[0].path.parent}: one image; without images in {folder / 'test'} "
            "a class needs two"
            for images in _by_class(train).values()
            if len(images) == 1
        ]
    if problems:
        more = len(problems) - MOST_TOLD
        counted = [f"and {more:,} more"] if more > 0 else []
        raise UserError(*problems[:MOST_TOLD], *counted)
    if not test:
        train, test = _draw_test(train, params.test_size, params.seed)
        print(
            f"{folder / 'test'}: no images; {params.test_size:.0%} of each class of "
            f"{folder / 'train'} is held out for testing"
        )
    classes = sorted(paths["train"], key=_natural)
    _tell_odd_classes(folder, classes, train, test)
    greys = _greys([*train, *test])
    train_split, test_split = (
        _split(part, classes, params.picture, greys) for part in (train, test)
    )
    return train_split, test_split


def _find(folder: Path, problems: list[str]) -> dict[str, dict[str, list[Path]]]:
    """Return the images of each class of the train and the test split, in their order."""
    found: dict[str, dict[str, list[Path]]] = {"train": {}, "test": {}}
    beside, empty, others = [], [], []
    for root, folders, files in os.walk(folder):
        here = Path(root)
        inner, paths = (
            [here / name for name in sorted(names, key=_natural) if name[0] != "."]
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
        images = [path for path in paths if path.name.lower().endswith(ENDINGS)]
        others += [path for path in paths if not path.name.lower().endswith(KNOWN)]
        if here.parent.parent != folder:
            expected = f"{folder}/train/CLASS/IMAGE"
            problems += [
                f"{path}: in no folder of a class; expected {expected}" for path in images
            ]
        elif not images:
            empty.append(here)
        else:
            name = unicodedata.normalize("NFC", here.name)  # macOS spells it otherwise
            found[here.parent.name].setdefault(name, []).extend(images)
            if not _is_name(name):
                problems.append(f"{here}: the name of a class must be printable")
    _tell(f"{folder}: neither its train nor its test, left out", beside)
    _tell(f"{folder}: no images, left out", empty)
    _tell(f"{folder}: no images by their names, left out", others)
    return found


def _check_classes(
    folder: Path, paths: dict[str, dict[str, list[Path]]], problems: list[str]
) -> None:
    n_class, (least, most) = len(paths["train"]), N_CLASS
    if not n_class:
        problems.append(
            f"{folder / 'train'}: no images; each class is a folder of them, "
            f"{folder / 'train'}/CLASS/IMAGE (`dvc exp run --temp` and `--queue` see "
            "only what Git or DVC tracks)"
        )
        return
    problems += [
        f"{images[0].parent}: a class of which {folder / 'train'} has no image"
        for name, images in paths["test"].items()
        if name not in paths["train"]
    ]
    if not least <= n_class <= most:
        found = f"{n_class:,} class" + "es" * (n_class > 1)
        problems.append(
            f"{folder / 'train'}: {found} with images, expected {least} to {most:,}"
        )


def _read(
    folder: Path, paths: dict[str, list[Path]], params: PrepareParams, problems: list[str]
) -> list[_Image]:
    """Read the images, class by class; what cannot be read becomes a problem."""
    images = []
    named = [(name, path) for name in sorted(paths, key=_natural) for path in paths[name]]
    read = partial(_read_image, params)
    with (
        mapped(read, named, torch.get_num_threads()) as results,
        bar(len(named), str(folder), " images") as progress,
    ):
        for found in results:
            if isinstance(found, _Image):
                images.append(found)
            else:
                problems.append(found)
            progress.update()
    return images


def _read_image(params: PrepareParams, named: tuple[str, Path]) -> _Image | str:
    """Read an image of a class, or say why it cannot be read."""
    name, path = named
    size = params.height, params.width
    try:
        picture = open_picture(read_file(path))
        content = _hash(f"{picture.size}".encode() + picture.tobytes())
        if is_wide(picture) and params.picture == "scale":
            values = scaled(picture, *size)
            return _Image(path, name, content, values, picture.mode, ends_of(picture))
        return _Image(path, name, content, image_of(picture, params.picture, *size))
    except PictureError as error:
        return f"{path}: {error}"


def _check_contents(images: list[_Image], problems: list[str]) -> None:
    """Find pictures that lie in two classes, or in both splits."""
    first: dict[str, _Image] = {}
    for image in images:
        other = first.setdefault(image.content, image)
        twin = f"{image.path}: the same picture as {other.path}"
        if other.path.parents[1] != image.path.parents[1]:
            problems.append(f"{twin}; remove one of them")
        elif other.name != image.name:
            problems.append(f"{twin}, of another class; remove one")


def _without_doubles(images: list[_Image]) -> list[_Image]:
    """Keep each picture once: a double could be drawn for another split than its first."""
    kept = {image.content: image for image in reversed(images)}.values()
    first = {image.path for image in kept}
    _tell(
        "the same picture as another of its class, left out",
        [image.path for image in images if image.path not in first],
    )
    return [image for image in images if image.path in first]


def _draw_test(
    images: list[_Image], share: float, seed: int
) -> tuple[list[_Image], list[_Image]]:
    """Split off ``share`` of each class, at least an image, at most all but one.

    The hash of an image and of the seed decides. So an image that is added, removed or
    renamed moves hardly another from one split to the other.
    """
    tested = set()
    for members in _by_class(images).values():
        drawn = sorted(members, key=lambda image: _hash(f"{seed} {image.content}".encode()))
        n_test = min(max(1, round(share * len(members))), len(members) - 1)
        tested |= {image.path for image in drawn[:n_test]}
    train = [image for image in images if image.path not in tested]
    return train, [image for image in images if image.path in tested]


def _tell_odd_classes(
    folder: Path, classes: list[str], train: list[_Image], test: list[_Image]
) -> None:
    trained, tested = (_by_class(images) for images in (train, test))
    rare = [name for name in classes if len(trained[name]) == 1]
    _tell(f"{folder / 'train'}: one image of a class to learn from", rare)
    untested = [name for name in classes if name not in tested]
    _tell(f"{folder / 'test'}: no images of a class", untested)
    alike: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        alike["".join(name.casefold().split())].append(name)
    twins = [repr(name) for names in alike.values() if len(names) > 1 for name in names]
    _tell(f"{folder}: classes that differ only in case or blanks", twins)


def _greys(images: list[_Image]) -> dict[str, tuple[float, float]]:
    """Return what is black and what white in the wide pictures of each mode, and print it.

    The file's own range would leave next to nothing of 10 or 12 bits in 16, and a range
    for each picture would make a dim one bright.
    """
    greys = {}
    for mode, kind in (("I", "9 to 32 bits"), ("F", "floats")):
        ends = np.array([image.ends for image in images if image.wide == mode])
        if len(ends):
            greys[mode] = black, white = greys_of(mode, ends)
            print(f"greys of {kind} ({len(ends):,}): {black:,g} is black, {white:,g} white")
    return greys


def _split(images: list[_Image], classes: list[str], picture: str, greys: Greys) -> Split:
    number = {name: i for i, name in enumerate(classes)}
    labels = torch.tensor([number[image.name] for image in images])
    values = [
        levels(image.values, *greys[image.wide]) if image.wide else image.values
        for image in images
    ]
    flat = [x.path for x, v in zip(images, values, strict=True) if np.ptp(v) < FEW_LEVELS]
    _tell(f"almost a single grey, fewer than {FEW_LEVELS} of 256 levels apart", flat)
    stacked = torch.from_numpy(np.stack(values))
    return Split(stacked, labels, tuple(classes), picture, greys)


def _by_class(images: Iterable[_Image]) -> dict[str, list[_Image]]:
    members: dict[str, list[_Image]] = defaultdict(list)
    for image in images:
        members[image.name].append(image)
    return members


_natsorted = natsort_keygen()


def _natural(name: str) -> tuple:
    """Return a key by which 2 comes before 10, whatever the locale."""
    return _natsorted(unicodedata.normalize("NFC", name)), name


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _tell(what: str, which: Sequence[object]) -> None:
    """Print what is no fault and may be none that was meant, with the first names."""
    if which:
        names = ", ".join(map(str, which[:5])) + ", ..." * (len(which) > 5)
        print(printable(f"{what} ({len(which):,}): {names}"))


def _is_name(text: str) -> bool:
    """Say whether a class may be called so, in a line and in a table.

    Joiners and blanks of all kinds are letters of some scripts, though Python calls them
    not printable.
    """
    return not any(
        {unicodedata.category(c), unicodedata.bidirectional(c)} & UNFIT for c in text
    )
