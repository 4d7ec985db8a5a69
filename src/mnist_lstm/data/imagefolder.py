"""Own images in folders, a folder a class: found, checked, and read into splits.

They lie in ``own/train/CLASS/IMAGE`` and, where the test images are chosen already, in
``own/test/CLASS/IMAGE``. The names of the folders are the names of the classes.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
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
from mnist_lstm.data.folders import (
    check_classes,
    drawn,
    find,
    hashed,
    natural,
    refuse,
    tell,
    tell_odd_classes,
)
from mnist_lstm.data.picture import image_of
from mnist_lstm.data.splits import Split
from mnist_lstm.plumbing.errors import PictureError
from mnist_lstm.plumbing.files import misspelt
from mnist_lstm.plumbing.params import PrepareParams
from mnist_lstm.plumbing.processes import mapped
from mnist_lstm.plumbing.progress import bar

ENDINGS = (
    *(end for end, kind in Image.registered_extensions().items() if kind in FORMATS),
    *(".jif", ".jfi", ".pjpeg", ".pjp"),  # JPEG, too
)
FEW_LEVELS = 20  # of 256, between the darkest and the lightest: hardly a picture


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
    paths = find(folder, problems, ENDINGS)
    if paths["train"]:
        places = {name: images[0].parent for name, images in paths["test"].items()}
        check_classes(folder / "train", paths["train"], places, problems)
    else:
        problems.append(
            f"{folder / 'train'}: no images; each class is a folder of them, "
            f"{folder / 'train'}/CLASS/IMAGE (`dvc exp run --temp` and `--queue` see "
            "only what Git or DVC tracks)"
        )
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
    refuse(problems)
    if not test:
        names, contents = [x.name for x in train], [x.content for x in train]
        tested = drawn(names, contents, params.test_size, params.seed)
        train, test = (
            [image for image, t in zip(train, tested, strict=True) if t == is_test]
            for is_test in (False, True)
        )
        print(
            f"{folder / 'test'}: no images; {params.test_size:.0%} of each class of "
            f"{folder / 'train'} is held out for testing"
        )
    classes = sorted(paths["train"], key=natural)
    tell_odd_classes(folder, classes, [x.name for x in train], [x.name for x in test])
    greys = _greys([*train, *test])
    train_split, test_split = (
        _split(part, classes, params.picture, greys) for part in (train, test)
    )
    return train_split, test_split


def _read(
    folder: Path, paths: dict[str, list[Path]], params: PrepareParams, problems: list[str]
) -> list[_Image]:
    """Read the images, class by class; what cannot be read becomes a problem."""
    images = []
    named = [(name, path) for name in sorted(paths, key=natural) for path in paths[name]]
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
        content = hashed(f"{picture.size}".encode() + picture.tobytes())
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
    tell(
        "the same picture as another of its class, left out",
        [image.path for image in images if image.path not in first],
    )
    return [image for image in images if image.path in first]


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
    tell(f"almost a single grey, fewer than {FEW_LEVELS} of 256 levels apart", flat)
    stacked = torch.from_numpy(np.stack(values))
    return Split(stacked, labels, tuple(classes), picture, greys)


def _by_class(images: Iterable[_Image]) -> dict[str, list[_Image]]:
    members: dict[str, list[_Image]] = defaultdict(list)
    for image in images:
        members[image.name].append(image)
    return members
