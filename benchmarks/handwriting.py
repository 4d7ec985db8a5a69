"""How many digits of handwriting fonts a model reads, photographed.

``python benchmarks/handwriting.py FONT.ttf...`` prints each digit three times in each
font, as on paper: light that falls off, a hand's shadow, noise, a turn of up to 8 degrees,
JPEG. It says how many ``models/model.safetensors`` reads, and names the others. The fonts
are yours; nothing was tuned on these pictures.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from mnist_lstm.model import LSTMClassifier
from mnist_lstm.picture import open_picture, prepare
from mnist_lstm.plumbing import script
from mnist_lstm.predict import MODEL, load
from mnist_lstm.splits import to_input

N_PHOTO = 3  # of each digit in each font


def main() -> None:
    """Print a line a font."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("fonts", nargs="+", type=Path, metavar="FONT")
    parser.add_argument("--model", type=Path, default=MODEL)
    arguments = parser.parse_args()
    model = load(arguments.model)
    n_right = 0
    for font in arguments.fonts:
        wrong = misread(model, font)
        n_right += N_PHOTO * 10 - len(wrong)
        print(
            f"{font.stem}: {N_PHOTO * 10 - len(wrong)} of {N_PHOTO * 10}", *wrong, sep=", "
        )
    print(f"all: {n_right} of {N_PHOTO * 10 * len(arguments.fonts)}")


@torch.inference_mode()
def misread(model: LSTMClassifier, font: Path) -> list[str]:
    """Return what ``model`` reads wrong, as "4 as 9"."""
    wrong = []
    for seed in range(N_PHOTO):
        pictures = [open_picture(photo(digit, font, seed)) for digit in range(10)]
        images = torch.from_numpy(np.stack([prepare(picture) for picture in pictures]))
        read = model(to_input(images)).argmax(1).tolist()
        wrong += [
            f"{digit} as {found}" for digit, found in enumerate(read) if digit != found
        ]
    return wrong


def photo(digit: int, font: Path, seed: int) -> bytes:
    """Return a JPEG: ``digit`` in ``font``, photographed."""
    generator = np.random.default_rng([seed, digit])
    face = ImageFont.truetype(str(font), 420)
    paper = Image.new("L", (900, 900), 0)
    ImageDraw.Draw(paper).text((450, 450), str(digit), 255, face, anchor="mm")
    turn = generator.uniform(-8, 8)
    ink = np.asarray(paper.rotate(turn, Image.Resampling.BICUBIC)) / 255
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
