"""Digits as a hand draws them: strokes on a paper of 280 x 280, made for this project.

They are held out: nothing was tuned on them. Some are as people draw on a screen, which is
not how MNIST's writers wrote: a 1 with a flag, a crossed 7, an open 4. ``drawings`` yields
146: each digit in twelve forms, and 26 odd ones. ``strokes.json`` has each stroke's points
(x, y), and its arcs (x, y, half of its width, half of its height, from, to): parts of an
ellipse around (x, y), in degrees, where 0 is right and 90 is down.
"""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

Point = tuple[float, float]  # x, rightward, and y, downward
PAPER = 280  # pixels, either way
MIDDLE = PAPER / 2


def arc(x: float, y: float, wide: float, high: float, start: int, end: int) -> list[Point]:
    """Return points on an ellipse around (x, y), between two angles in degrees."""
    n = max(6, abs(end - start) // 12)
    angles = [math.radians(start + (end - start) * i / n) for i in range(n + 1)]
    return [(x + wide * math.cos(a), y + high * math.sin(a)) for a in angles]


def points(parts: list[list]) -> list[Point]:
    """Return the points of a stroke: of its arcs, too."""
    pieces = [arc(*part) if len(part) > 2 else [(part[0], part[1])] for part in parts]
    return [point for piece in pieces for point in piece]


_READ = json.loads(Path(__file__).with_suffix(".json").read_text())
_ALL = {name: [points(stroke) for stroke in strokes] for name, strokes in _READ.items()}
DIGITS = {int(name): strokes for name, strokes in _ALL.items() if name.isdigit()}
ODD = {name: strokes for name, strokes in _ALL.items() if not name.isdigit()}


def turn(degrees: float) -> np.ndarray:
    """Return the matrix that turns points, clockwise."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s], [s, c]])


# How points around the middle of the paper are changed, how far they are then moved, and
# how far a trembling hand takes each.
FORMS: dict[str, tuple[np.ndarray, float, float]] = {
    "normal": (np.eye(2), 0, 0),
    "huge": (1.45 * np.eye(2), 0, 0),
    "small": (0.5 * np.eye(2), 0, 0),
    "tiny": (0.15 * np.eye(2), 0, 0),
    "in a corner": (0.4 * np.eye(2), 95, 0),
    "slanted": (np.array([[1, -0.4], [0, 1]]), 0, 0),
    "slanted back": (np.array([[1, 0.3], [0, 1]]), 0, 0),
    "turned": (turn(18), 0, 0),
    "turned back": (turn(-18), 0, 0),
    "flat": (np.diag([1, 0.45]), 0, 0),
    "narrow": (np.diag([0.4, 1]), 0, 0),
    "shaky": (np.eye(2), 0, 4),
}


def drawings() -> Iterator[tuple[str, int, list[np.ndarray]]]:
    """Yield 146 drawings: form, digit, and strokes [points x 2] on the paper."""
    for digit, strokes in DIGITS.items():
        generator = np.random.default_rng(digit)
        corner = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)][digit % 4])
        for name, (matrix, away, tremble) in FORMS.items():
            shape = [
                (np.array(s) - MIDDLE) @ matrix.T + MIDDLE + away * corner for s in strokes
            ]
            yield name, digit, [s + generator.normal(0, tremble, s.shape) for s in shape]
    for name, strokes in ODD.items():
        yield name, int(name[0]), [np.array(stroke) for stroke in strokes]


def draw(
    strokes: Iterable[Iterable[Point]],
    pen: float,
    side: int = PAPER,
    ink: int = 0,
    paper: int = 255,
) -> Image.Image:
    """Return a grey picture of ``side`` pixels: ``strokes`` of a round ``pen``."""
    zoom = 4 * side / PAPER  # Pillow's lines have no soft edges: they are drawn large
    picture = Image.new("L", (4 * side, 4 * side), paper)
    canvas = ImageDraw.Draw(picture)
    for stroke in strokes:
        points = [(zoom * x, zoom * y) for x, y in stroke]
        canvas.line(points, ink, round(zoom * pen), "curve")
        for point in points:
            canvas.circle(point, zoom * pen / 2, ink)
    return picture.resize((side, side), Image.Resampling.BOX)
