"""Images and sequences of one's own, for tests: written, and read or refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defaults import DEFAULT
from mnist_lstm.data.own import read_splits
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import PrepareParams


def write_images(folder: Path) -> None:
    """Write 20 images of 12 x 9 of each of two classes."""
    generator = np.random.default_rng(0)
    for name in ("dark", "light"):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            values = generator.integers(0, 128, (12, 9)) + 127 * (name == "light")
            Image.fromarray(values.astype(np.uint8)).save(folder / name / f"{i}.png")


def write_windows(folder: Path) -> None:
    """Write 30 windows of each of three classes: CSVs of 20 to 29 steps of 6 values."""
    generator = np.random.default_rng(0)
    for number, name in enumerate(("idle", "spin", "wash")):
        (folder / name).mkdir(parents=True)
        for i in range(30):
            window = generator.normal(size=(20 + i % 10, 6))
            window[:, number] += 2
            path = folder / name / f"{i}.csv"
            np.savetxt(path, window, "%.4f", ",", header="a,b,c,d,e,f", comments="")


class Data:
    """20 sequences of 3 to 6 steps of 2 values, of two classes and four persons."""

    def __init__(self, seed, n=20, shortest=3):
        generator = np.random.default_rng(seed)
        self.lengths = generator.integers(shortest, 7, n)
        self.lengths[0] = 6
        self.x = generator.normal(size=(n, 6, 2)).astype(np.float32)
        self.names = np.array(["rest", "walk"]).repeat(n // 2)
        self.groups = np.array(["p10", "p2", "p1", "p3"])[np.arange(n) % 4]

    def each(self):
        for x, n, name, group in zip(
            self.x, self.lengths, self.names, self.groups, strict=True
        ):
            yield x[:n], name, group


def write_npz(data, folder, part, **other):
    arrays = {"x": data.x, "y": data.names, "lengths": data.lengths, "groups": data.groups}
    folder.mkdir(exist_ok=True)
    kept = {k: v for k, v in (arrays | other).items() if v is not None}
    np.savez(folder / f"{part}.npz", **kept)


def write_files(data, folder, part, ending=".csv", grouped=True):
    """Write a file a sequence; their names count in the order of the data."""
    for i, (x, name, group) in enumerate(data.each()):
        path = folder / part / name / (group if grouped else "") / f"{i}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if ending == ".npy":
            np.save(path, x)
        else:
            np.savetxt(path, x, "%.9g", ",", header="ax,ay", comments="")


def write_ts(data, folder, part):
    lines = [
        ":".join(",".join(f"{v:.9g}" for v in column) for column in x.T) + f":{name}"
        for x, name, _ in data.each()
    ]
    head = "# A remark\n@problemName Test\n@timeStamps false\n@dimensions 2\n"
    text = f"{head}@classLabel true rest walk\n@data\n" + "\n".join(lines) + "\n"
    (folder / f"{part}.ts").write_text(text)


def read(folder, **changes):
    """Read with the default parameters, pictures scaled, but for ``changes``."""
    values = DEFAULT["prepare"] | {"picture": "scale"} | changes
    return read_splits(folder, PrepareParams(**values))


def problems(folder, **changes):
    """Return the lines of the refusal, without the folder's place on this machine."""
    with pytest.raises(UserError) as caught:
        read(folder, **changes)
    return str(caught.value).replace(str(folder), "own").splitlines()
