"""How many digits drawn by hand, and photographed ones of handwriting fonts, a model reads.

``python benchmarks/handwriting.py [FONT.ttf...]`` draws the digits of ``strokes.py`` as on
the page: turned by up to 10 degrees, slanted, wide or narrow, with a thin or a thick pen.
It prints those of each font as on paper: light that falls off, a hand's shadow, noise, a
turn of up to 8 degrees, JPEG. It says how many ``models/model.safetensors`` reads, and
names the others. The fonts are yours; nothing was tuned on these pictures.
"""

import argparse
import functools
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from mnist_lstm.data.decoding import open_picture
from mnist_lstm.data.picture import prepare
from mnist_lstm.data.splits import to_input
from mnist_lstm.models.base import Model
from mnist_lstm.plumbing import script
from mnist_lstm.predict import MODEL, load
from strokes import drawing

N_PHOTO = 3  # of each digit in each font
N_DRAWING = 30  # of each digit


def main() -> None:
    """Print a line for the drawings, and one a font."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("fonts", nargs="*", type=Path, metavar="FONT")
    parser.add_argument("--model", type=Path, default=MODEL)
    arguments = parser.parse_args()
    model = load(arguments.model)
    print(told("drawn", 10 * N_DRAWING, misread(model, drawing, N_DRAWING)))
    for font in arguments.fonts:
        wrong = misread(model, functools.partial(photo, font=font), N_PHOTO)
        print(told(font.stem, 10 * N_PHOTO, wrong))


def told(name: str, n: int, wrong: Counter[str]) -> str:
    """Return a line: of ``n`` pictures, how many are right, and what is wrong how often."""
    counts = [f"{count} x {what}" for what, count in wrong.most_common()]
    return ", ".join([f"{name}: {n - wrong.total()} of {n}", *counts])


@torch.inference_mode()
def misread(model: Model, make: Callable[[int, int], bytes], n: int) -> Counter[str]:
    """Return how often ``model`` reads a picture, make(digit, seed), wrong, by "4 as 9"."""
    wrong: Counter[str] = Counter()
    for seed in range(n):
        pictures = [open_picture(make(digit, seed)) for digit in range(10)]
        images = torch.from_numpy(np.stack([prepare(picture) for picture in pictures]))
        read = model(to_input(images)).argmax(1).tolist()
        wrong.update(f"{a} as {b}" for a, b in enumerate(read) if a != b)
    return wrong


def photo(digit: int, seed: int, font: Path) -> bytes:
    """Return a JPEG: ``digit`` in ``font``, photographed."""
    generator = np.random.default_rng([seed, digit])
    face = ImageFont.truetype(str(font), 420)
    paper = Image.new("L", (900, 900), 0)
    ImageDraw.Draw(paper).text((450, 450), str(digit), 255, face, anchor="mm")
    angle = generator.uniform(-8, 8)
    ink = np.asarray(paper.rotate(angle, Image.Resampling.BICUBIC)) / 255
    y, x = np.mgrid[:900, :900]
    light = 230 - 0.06 * x - 0.04 * y
    light *= 1 - 0.45 / (1 + np.exp((x - 0.6 * y - generator.uniform(100, 500)) / 40))
    grey = light * (1 - 0.75 * ink) + generator.normal(0, 6, ink.shape)
    colour = (grey[..., None] * [1, 0.97, 0.9]).clip(0, 255).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(colour).save(data, "JPEG", quality=75)
    return data.getvalue()


if __name__ == "__main__":
    script.run(main, alone=False)
