"""Pictures for tests, drawn with Pillow out of the strokes in ``strokes.py``."""

import io

import numpy as np
from PIL import Image

from strokes import DIGITS, draw


def drawn(digit, side=280, pen=22, ink=0, paper=255):
    """Return a grey picture of ``side`` pixels: a digit of our own hand."""
    return draw(DIGITS[digit], pen, side, ink, paper)


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
