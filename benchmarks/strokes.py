"""Digits as a hand draws them: strokes on a paper of 280 x 280, made for this project.

They are held out: nothing was tuned on them. Some are as people draw on a screen, which is
not how MNIST's writers wrote: a 1 with a flag, a crossed 7, an open 4. ``drawings`` yields
146: each digit in twelve forms, and 26 odd ones.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image, ImageDraw

Point = tuple[float, float]  # x, rightward, and y, downward
PAPER = 280  # pixels, either way
MIDDLE = PAPER / 2


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

# As some people write them: the digit, and how.
ODD: dict[str, list[list[Point]]] = {
    "0 slashed": [arc(140, 140, 56, 84, -90, 270), [(188, 70), (140, 140), (92, 212)]],
    "0 not closed": [arc(140, 142, 60, 82, -60, 250)],
    "0 with a curl": [[(168, 74), *arc(136, 142, 54, 82, -60, -400), (150, 92), (120, 82)]],
    "1 with flag and foot": [
        [(104, 104), (142, 60), (142, 222)],
        [(98, 224), (188, 222)],
    ],
    "1 with a long flag": [[(82, 142), (118, 98), (152, 54), (150, 140), (148, 228)]],
    "1 with a foot": [[(140, 58), (140, 224)], [(106, 226), (176, 224)]],
    "1 that leans": [[(182, 60), (144, 140), (104, 226)]],
    "2 like a z": [[(86, 70), (192, 66), (140, 140), (84, 220), (200, 216)]],
    "2 with a loop": [
        [
            *arc(140, 100, 50, 44, 200, 380),
            *((162, 164), (112, 216), (88, 208), (104, 186), (142, 206), (202, 218)),
        ]
    ],
    "3 with a flat top": [
        [(90, 62), (186, 60), (132, 124), *arc(134, 174, 56, 50, 270, 500)]
    ],
    "3 with a loop": [
        [
            *arc(136, 92, 46, 38, 200, 420),
            *((122, 128), (108, 134), (122, 142), *arc(136, 184, 54, 44, 290, 510)),
        ]
    ],
    "4 open": [[(94, 58), (90, 148), (194, 142)], [(184, 54), (178, 140), (174, 230)]],
    "4 closed": [[(206, 160), (76, 162), (120, 106), (160, 52), (158, 140), (156, 232)]],
    "4 with a long bar": [[(150, 54), (82, 170), (226, 168)], [(160, 120), (156, 236)]],
    "5 like an s": [
        [(188, 66), *arc(140, 100, 46, 38, 300, 130), *arc(134, 178, 52, 46, -70, 150)]
    ],
    "5 with its hat last": [
        [(100, 72), (98, 132), (142, 126), (180, 160), (164, 210), (92, 222)],
        [(96, 68), (206, 58)],
    ],
    "6 with a straight stem": [[(108, 50), (106, 140), *arc(144, 184, 42, 42, 180, 540)]],
    "6 with a curl": [
        [*arc(160, 94, 40, 36, -20, -150), (96, 160), *arc(140, 186, 46, 40, 180, 560)]
    ],
    "7 crossed": [
        [(88, 62), (198, 60), (150, 138), (124, 226)],
        [(104, 150), (180, 138)],
    ],
    "7 with a serif": [[(84, 92), (84, 62), (200, 64), (156, 140), (136, 230)]],
    "7 that bends": [[(80, 72), (140, 66), (198, 60), (188, 110), (148, 156), (138, 230)]],
    "8 of two rings": [arc(140, 96, 40, 38, 90, 450), arc(140, 182, 50, 46, -90, 270)],
    "8 open at the top": [
        [
            *((190, 62), *arc(138, 98, 44, 38, 300, 120)),
            *(*arc(138, 184, 48, 44, -60, 210), (140, 134), (198, 74)),
        ]
    ],
    "9 with a curl": [
        [*arc(140, 100, 46, 42, -10, -370), (184, 150), *arc(142, 196, 40, 36, 10, 160)]
    ],
    "9 with a straight stem": [[*arc(132, 104, 44, 44, 0, -360), (178, 60), (178, 232)]],
    "9 not closed": [
        [*arc(136, 104, 46, 44, -50, -330), (182, 92), (176, 160), (160, 230)]
    ],
}


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
