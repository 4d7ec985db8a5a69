"""Pictures for tests, drawn with Pillow out of the strokes in ``strokes.py``."""

import io

import numpy as np
from PIL import Image, ImageDraw

from strokes import DIGITS


def drawn(digit, side=280, pen=22, ink=0, paper=255):
    """Return a grey picture of ``side`` pixels: a digit of our own hand."""
    big = 4 * side  # Pillow's lines have no soft edges
    picture = Image.new("L", (big, big), paper)
    draw = ImageDraw.Draw(picture)
    unit, wide = big / 280, pen * big / 280
    for stroke in DIGITS[digit]:
        points = [(x * unit, y * unit) for x, y in stroke]
        draw.line(points, fill=ink, width=round(wide), joint="curve")
        for x, y in points:
            box = (x - wide / 2, y - wide / 2, x + wide / 2, y + wide / 2)
            draw.ellipse(box, fill=ink)
    return picture.resize((side, side), Image.Resampling.BOX)


def photographed(digit, seed=0, width=1200, height=900, pen=10):
    """Return a photo in colour: a pen on paper with a gradient, a shadow, and noise."""
    generator = np.random.default_rng(seed)
    digit = drawn(digit, side=600, pen=pen)
    ink = np.zeros((height, width))
    top, left = generator.integers(60, 240), generator.integers(60, 540)
    ink[top : top + 600, left : left + 600] = 1 - np.asarray(digit) / 255
    y, x = np.mgrid[:height, :width]
    light = 230 - 70 * x / width - 40 * y / height
    light *= 1 - 0.45 / (1 + np.exp((x - 0.6 * y - width / 3) / 40))  # a hand's shadow
    grey = light * (1 - 0.75 * ink) + generator.normal(0, 6, ink.shape)
    colour = grey[..., None] * [1, 0.97, 0.9]
    return Image.fromarray(colour.clip(0, 255).astype(np.uint8))


def encoded(picture, kind="PNG", **options):
    """Return ``picture`` as the bytes of a file."""
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()
