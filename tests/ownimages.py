"""Own images in folders, for tests: made, and read or refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from defaults import DEFAULT
from mnist_lstm.data import imagefolder
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import PrepareParams


def read(folder, **changes):
    """Read with the default parameters, pictures scaled, but for ``changes``."""
    values = DEFAULT["prepare"] | {"picture": "scale"} | changes
    return imagefolder.read_splits(folder, PrepareParams(**values))


def noise(seed, size=(28, 28), mode="L"):
    """Return a picture like no other."""
    shape = (*size[::-1], len(mode)) if len(mode) > 1 else size[::-1]
    generator = np.random.default_rng(list(repr(seed).encode()))
    return Image.fromarray(generator.integers(0, 256, shape, np.uint8))


def save(picture, path, kind=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, kind, **options)


@pytest.fixture
def own(tmp_path):
    """Three train and two test images of each of the classes `cat` and `dog`."""
    folder = tmp_path / "own"
    for i, name in enumerate(["cat", "dog"]):
        for part, n in (("train", 3), ("test", 2)):
            for j in range(n):
                save(noise((i, part == "test", j)), folder / part / name / f"{j}.png")
    return folder


def problems(folder, **changes):
    """Return the lines of the refusal, without the folder's place on this machine."""
    with pytest.raises(UserError) as caught:
        read(folder, **changes)
    return str(caught.value).replace(str(folder), "own").splitlines()


def assert_same(splits, others):
    for split, other in zip(splits, others, strict=True):
        assert split.classes == other.classes
        assert torch.equal(split.x, other.x)
        assert torch.equal(split.labels, other.labels)
