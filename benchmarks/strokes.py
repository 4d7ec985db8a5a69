"""Digits as a hand draws them: strokes on a paper of 280 x 280, made for this project.

They are held out: nothing was tuned on them. Some are as people draw on a screen, which is
not how MNIST's writers wrote: a 1 with a flag, a crossed 7, an open 4.
"""

import math
from collections.abc import Iterable

from PIL import Image, ImageDraw

Point = tuple[float, float]  # x, rightward, and y, downward
PAPER = 280  # pixels, either way


def arc(x: float, y: float, wide: float, high: float, start: int, end: int) -> list[Point]:
    """Return points on an ellipse around (x, y), between two angles in degrees.

    0 is right, 90 is down.
    """
    n = max(6, abs(end - start) // 12)
    angles = [math.radians(start + (end - start) * i / n) for i in range(n + 1)]
    return [(x + wide * math.cos(a), y + high * math.sin(a)) for a in angles]


DIGITS: dict[int, list[list[Point]]] = {
    0: [arc(142, 138, 58, 86, -100, 268)],
    1: [[(118, 92), (138, 74), (152, 56), (150, 100), (146, 160), (143, 226)]],
    2: [[*arc(136, 98, 52, 46, 195, 385), (150, 160), (112, 198), (84, 222), (200, 218)]],
    3: [[*arc(130, 92, 50, 40, 210, 440), *arc(132, 180, 58, 48, 280, 500)]],
    4: [[(120, 52), (100, 98), (82, 142), (198, 138)], [(172, 60), (166, 140), (160, 232)]],
    5: [
        [(108, 64), (102, 128), *arc(132, 172, 58, 52, 236, 490)],
        [(106, 64), (152, 60), (196, 58)],
    ],
    6: [[(172, 50), (132, 84), (98, 136), *arc(138, 180, 50, 46, 190, 560)]],
    7: [
        [(78, 70), (140, 66), (204, 62), (170, 122), (140, 180), (122, 232)],
        [(108, 146), (186, 142)],
    ],
    8: [[*arc(140, 94, 44, 40, 300, -60), *arc(138, 184, 54, 48, 300, 640)]],
    9: [[*arc(138, 102, 48, 44, -20, -380), (186, 110), (180, 170), (172, 234)]],
}


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
