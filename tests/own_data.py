"""Images and windows of one's own that are easy to tell apart, for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


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
