"""Own images in folders, a folder a class: found, checked, and read into splits.

They lie in ``own/train/CLASS/IMAGE`` and, where the test images are chosen already, in
``own/test/CLASS/IMAGE``. The names of the folders are the names of the classes.
"""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from mnist_lstm.data import decoding, folders
from mnist_lstm.data.decoding import FORMATS, Greys
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
    paths = folders.find(folder, problems, ENDINGS)
    places = {name: images[0].parent for name, images in paths["test"].items()}
    folders.check_classes(folder / "train", paths["train"], places, problems)
    named = [
        (name, path)
        for part in paths.values()
        for name in sorted(part, key=folders.natural)
        for path in part[name]
    ]
    images = _different(_read(folder, named, params, problems), problems)
    names = [image.name for image in images]
    tested = [image.path.parents[1].name == "test" for image in images]
    is_drawn = not any(tested)
    if is_drawn:
        problems += [
            f"{paths['train'][name][0].parent}: one image; without images in "
            f"{folder / 'test'} a class needs two"
            for name, count in Counter(names).items()
            if count == 1
        ]
    folders.refuse(problems)
    if is_drawn:
        contents = [image.content for image in images]
        tested = folders.drawn(names, contents, params.test_size, params.seed)
        print(
            f"{folder / 'test'}: no images; {params.test_size:.0%} of each class of "
            f"{folder / 'train'} is held out for testing"
        )
    classes = tuple(sorted(paths["train"], key=folders.natural))
    number = {name: i for i, name in enumerate(classes)}
    greys = _greys(images)
    labels = torch.tensor([number[name] for name in names])
    whole = Split(_stacked(images, greys), labels, classes, params.picture, greys)
    in_test = torch.tensor(tested)
    train, test = (whole.take(p.nonzero().flatten()) for p in (~in_test, in_test))
    trained, tested_on = (split.names(split.labels) for split in (train, test))
    folders.tell_odd_classes(folder, classes, trained, tested_on)
    return train, test


def _read(
    folder: Path, named: list[tuple[str, Path]], params: PrepareParams, problems: list[str]
) -> list[_Image]:
    """Read the images, ``named`` by their classes; what cannot be read is a problem."""
    found = []
    with (
        mapped(partial(_read_image, params), named, torch.get_num_threads()) as results,
        bar(len(named), str(folder), " images") as progress,
    ):
        for result in results:
            found.append(result)
            progress.update()
    problems += [problem for problem in found if isinstance(problem, str)]
    return [image for image in found if isinstance(image, _Image)]


def _read_image(params: PrepareParams, named: tuple[str, Path]) -> _Image | str:
    """Read an image of a class, or say why it cannot be read."""
    name, path = named
    size = params.height, params.width
    try:
        picture = decoding.open_picture(decoding.read_file(path))
        content = folders.hashed(f"{picture.size}".encode() + picture.tobytes())
        if decoding.is_wide(picture) and params.picture == "scale":
            values, ends = decoding.scaled(picture, *size), decoding.ends_of(picture)
            return _Image(path, name, content, values, picture.mode, ends)
        return _Image(path, name, content, image_of(picture, params.picture, *size))
    except PictureError as error:
        return f"{path}: {error}"


def _different(images: list[_Image], problems: list[str]) -> list[_Image]:
    """Return each picture once; one in two classes, or in both splits, is a problem.

    A double could be drawn for another split than its first.
    """
    first: dict[str, _Image] = {}
    doubles = []
    for image in images:
        other = first.setdefault(image.content, image)
        twin = f"{image.path}: the same picture as {other.path}"
        if other.path.parents[1] != image.path.parents[1]:
            problems.append(f"{twin}; remove one of them")
        elif other.name != image.name:
            problems.append(f"{twin}, of another class; remove one")
        elif other is not image:
            doubles.append(image.path)
    folders.tell("the same picture as another of its class, left out", doubles)
    return list(first.values())


def _greys(images: list[_Image]) -> dict[str, tuple[float, float]]:
    """Return what is black and what white in the wide pictures of each mode, and print it.

    The file's own range would leave next to nothing of 10 or 12 bits in 16, and a range
    for each picture would make a dim one bright.
    """
    greys = {}
    for mode, kind in (("I", "9 to 32 bits"), ("F", "floats")):
        ends = np.array([image.ends for image in images if image.wide == mode])
        if len(ends):
            greys[mode] = black, white = decoding.greys_of(mode, ends)
            print(f"greys of {kind} ({len(ends):,}): {black:,g} is black, {white:,g} white")
    return greys


def _stacked(images: list[_Image], greys: Greys) -> torch.Tensor:
    """Return uint8 [N x L x Q]; tell which are almost a single grey."""
    values = [
        decoding.levels(x.values, *greys[x.wide]) if x.wide else x.values for x in images
    ]
    flat = [x.path for x, v in zip(images, values, strict=True) if np.ptp(v) < FEW_LEVELS]
    what = f"almost a single grey, fewer than {FEW_LEVELS} of 256 levels apart"
    folders.tell(what, flat)
    return torch.from_numpy(np.stack(values))
