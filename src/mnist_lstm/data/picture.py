"""From anyone's picture to an image like MNIST's: the one specification, and its Python.

``page/prepare.js`` does the same in the browser, step by step and with the same numbers; a
test compares the two in a real browser. A picture shows one digit or letter.

1. **Grey.** Transparency lies on white; grey = (299 R + 587 G + 114 B) / 1000. A picture
   longer than 1,000 pixels is averaged in blocks of k x k, the least k that makes it fit.
2. **Dark or light ink.** The picture is averaged into at most 32 x 32 square cells; the
   median of 11 x 11 cells around a cell is what is usual there. Ink is the exception: it is
   dark where the cubed differences from the usual sum up below 0, or else the picture is
   inverted.
3. **Shadows.** The paper at a cell is the closing of the cells, the maximum and then the
   minimum over 11 x 11 of them, and the mean over 3 x 3 of that; between the centres of
   cells it is interpolated. Darkness is the share of the paper's light that is missing.
4. **Ink** is what is darker than Otsu's threshold over 256 levels of darkness. Where the
   means of ink and paper are less than 6 standard deviations (around these means) apart,
   there may be too little ink for it: then Otsu's threshold over what is above the first
   one is taken, if it parts them better. Means that are less than 0.15 apart, or less than
   4.5 standard deviations, are no ink.
5. **What does not belong** is dropped: connected ink that touches the border, where other
   ink is a fifth of it (a fiftieth, where it follows the border for a quarter of the
   shorter side: the edge of the paper); and what has less than 3% of the largest (specks).
6. **Grey levels** go from 0 at the paper's mean darkness to 1 at the ink's, on the ink and
   one pixel around it.
7. **Size.** The box around the ink is scaled, its aspect kept, so that it fits into 20 x 20
   (5/7 of the image), by averaging areas: a pixel of the image is the mean over the area
   that it covers. Lines thinner than 2 pixels are averaged over an area that is larger by
   what they lack, so a thin pen is not lost; the box leaves room for that.
8. **Place.** The centre of mass lies at the centre of pixel (14, 14), counted from 0, where
   MNIST has it, not rounded; but the box stays within the image.
9. **Contrast.** Greys are multiplied so that their mean, weighted by themselves, is 0.85 as
   in MNIST, if it is less; they end at 1 and are rounded to 0 to 255.

Numbers were chosen on MNIST's train images and on drawn ones, never on its test images.
MNIST's own way: http://yann.lecun.com/exdb/mnist/.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from mnist_lstm.data.decoding import Greys, greys_of, is_wide, levels, scaled
from mnist_lstm.plumbing.errors import PictureError

LONGEST = 1000  # pixels at which a picture is worked on
CELLS = 32
AROUND = 5  # cells on either side
MIN_CONTRAST = 0.15
MIN_STANDING_OUT = 4.5  # standard deviations; noise: 2.7, a gradient: 3.5
DOUBTFUL = 6  # MNIST's train images: 7 or more
MIN_LINE = 2.0  # pixels of the image
LEVEL = 0.85
_NO_INK = "nothing to see: no ink that stands out from the paper"


def image_of(
    picture: Image.Image, how: str, height: int, width: int, greys: Greys | None = None
) -> np.ndarray:
    """Return ``picture``, from ``open_picture``, as a model reads it: uint8 [L x Q].

    ``how`` is mnist (the ink, centred as in MNIST) or scale (all of it). ``greys`` tell
    black and white of a wide picture that is scaled; without them it is taken alone.

    Raises:
        PictureError: MNIST's preparation finds no ink in it.
    """
    if how == "mnist":
        return prepare(picture, height, width)
    values = scaled(picture, height, width)
    if not is_wide(picture):
        return values
    known = (greys or {}).get(picture.mode)
    return levels(values, *known or greys_of(picture.mode, picture))


def prepare(picture: Image.Image, height: int = 28, width: int = 28) -> np.ndarray:
    """Return ``picture`` as MNIST would hold it: uint8 [height x width], light on dark.

    Raises:
        PictureError: there is no ink in it.
    """
    if is_wide(picture):
        picture = Image.fromarray(levels(picture, *greys_of(picture.mode, picture)))
    darkness = _darkness(_grey(picture))
    ink = _ink(darkness)
    kept = _belonging(ink.where)
    around = ndimage.binary_dilation(kept, np.ones((3, 3)))
    values = np.clip((darkness - ink.base) / (ink.level - ink.base), 0, 1) * around
    return _placed(values, kept, height, width)


def _grey(picture: Image.Image) -> np.ndarray:
    """Return float64 [H x W] in [0, 255], at most ``LONGEST`` long."""
    width, height = picture.size
    k = -(-max(picture.size) // LONGEST)
    strip = k * max(1, 2**20 // (k * width))  # rows: all of 64 megapixels would take 3 GB
    parts = []
    for top in range(0, height, strip):
        part = picture.crop((0, top, width, min(top + strip, height))).convert("RGBA")
        rgba = np.asarray(part)
        alpha = rgba[..., 3] * (1 / 255)
        grey = (rgba[..., :3] @ np.array([299.0, 587.0, 114.0])) / 1000
        parts.append(_averaged(grey * alpha + 255 * (1 - alpha), k))
    return np.concatenate(parts)


def _averaged(values: np.ndarray, k: int) -> np.ndarray:
    """Average blocks of k x k; at the right and lower edge, what is left of them."""
    for axis in (0, 1):
        starts = np.arange(0, values.shape[axis], k)
        sums = np.add.reduceat(values, starts, axis)
        counts = np.diff([*starts, values.shape[axis]])
        values = sums / (counts[:, None] if axis == 0 else counts)
    return values


def _darkness(grey: np.ndarray) -> np.ndarray:
    """Return how much of the paper's light is missing: float64 [H x W] in [0, 1]."""
    k = -(-max(grey.shape) // CELLS)
    cells = _averaged(grey, k)
    single = cells.astype(np.float32)  # sorted in a fifth of the time; it sets no grey
    usual = _spread(_around(single, np.nanmedian), k, grey.shape)
    if ((grey - usual) ** 3).sum() > 0:
        grey, cells = 255 - grey, 255 - cells
    around = {"size": 2 * AROUND + 1, "mode": "constant"}  # of what exists
    widest = ndimage.maximum_filter(cells, cval=-np.inf, **around)
    closed = ndimage.minimum_filter(widest, cval=np.inf, **around)
    paper = _spread(_around(closed, np.nanmean, 1), k, grey.shape)
    return np.clip((paper - grey) / np.maximum(paper, 1), 0, 1)


def _around(cells: np.ndarray, what: Callable, reach: int = AROUND) -> np.ndarray:
    """Return ``what`` of each cell and those up to ``reach`` away that exist."""
    padded = np.pad(cells, reach, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1,) * 2)
    return what(windows.reshape(*cells.shape, -1), axis=2)


def _spread(cells: np.ndarray, k: int, shape: tuple[int, ...]) -> np.ndarray:
    """Interpolate between the centres of cells of k x k pixels: [H x W]."""
    for axis in (0, 1):
        n = cells.shape[axis]
        at = np.clip((np.arange(shape[axis]) + 0.5) / k - 0.5, 0, n - 1)
        low = np.minimum(at.astype(int), max(0, n - 2))
        share = at - low
        high = np.minimum(low + 1, n - 1)
        share = share[:, None] if axis == 0 else share
        cells = cells.take(low, axis) * (1 - share) + cells.take(high, axis) * share
    return cells


class _Ink(NamedTuple):
    """Where ink is, and how it differs from the paper."""

    where: np.ndarray  # bool [H x W]
    level: float  # mean darkness of the ink
    base: float  # and of the paper
    stands_out: float  # their difference, in standard deviations around these means

    @classmethod
    def above(cls, darkness: np.ndarray, bins: np.ndarray, threshold: int) -> "_Ink":
        """Take what lies in ``bins`` above ``threshold`` for ink."""
        ink = bins > threshold
        level, base = float(darkness[ink].mean()), float(darkness[~ink].mean())
        spread = np.sqrt(((darkness - np.where(ink, level, base)) ** 2).mean())
        return cls(ink, level, base, (level - base) / max(float(spread), 1e-9))


def _ink(darkness: np.ndarray) -> _Ink:
    """Tell ink from paper.

    Raises:
        PictureError: there is none.
    """
    bins = np.minimum((darkness * 256).astype(int), 255)
    counts = np.bincount(bins.ravel(), minlength=256).astype(np.float64)
    threshold = _otsu(counts)
    if threshold is None:
        raise PictureError(_NO_INK)
    ink = _Ink.above(darkness, bins, threshold)
    if ink.stands_out < DOUBTFUL:
        counts[: threshold + 1] = 0
        higher = _otsu(counts)
        if higher is not None:
            again = _Ink.above(darkness, bins, higher)
            ink = again if again.stands_out > ink.stands_out else ink
    if ink.level - ink.base < MIN_CONTRAST or ink.stands_out < MIN_STANDING_OUT:
        raise PictureError(_NO_INK)
    return ink


def _otsu(counts: np.ndarray) -> int | None:
    """Return the level that best parts ``counts`` [256] in two; None for a single level."""
    below = counts.cumsum()[:-1]
    sums = (counts * np.arange(256)).cumsum()
    above = counts.sum() - below
    possible = (below > 0) & (above > 0)
    if not possible.any():
        return None
    apart = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return int(np.where(possible, below * above * apart**2, -1).argmax())


def _belonging(ink: np.ndarray) -> np.ndarray:
    """Return ``ink`` without specks and without what comes in from outside the picture."""
    labels, n = ndimage.label(ink, np.ones((3, 3)))
    size = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    rim = np.ones_like(ink)
    rim[1:-1, 1:-1] = False
    on_rim = np.bincount(labels[rim], minlength=n + 1)[1:]
    inner = size[on_rim == 0].max(initial=0)
    along = on_rim >= min(ink.shape) / 4
    foreign = (on_rim > 0) & (inner >= size * np.where(along, 0.02, 0.2))
    keep = ~foreign & (size >= 0.03 * size[~foreign].max())
    return np.concatenate(([False], keep))[labels]


def _placed(values: np.ndarray, kept: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale ``values`` [H x W] into the image, centre of mass at its centre."""
    box = ndimage.find_objects(kept.astype(np.uint8))[0]
    size = np.array([side.stop - side.start for side in box])
    room = np.array([height, width]) * (5 / 7)
    scale = (size / room).max()  # pixels of the picture in one of the image
    spread = 1 + np.clip(MIN_LINE - _line_width(kept) / scale, 0, MIN_LINE - 1)
    scale = (size / (room - (spread - 1))).max()

    mass = values.sum()
    out = values
    for axis, n in enumerate((height, width)):
        profile = values.sum(1 - axis)
        centre = (profile * (np.arange(len(profile)) + 0.5)).sum() / mass
        first = box[axis].start
        margin = (spread - 1) / 2
        # Where the box begins, in pixels of the image.
        begin = n // 2 + 0.5 - (centre - first) / scale
        begin = np.clip(begin, margin, max(margin, n - margin - size[axis] / scale))
        weights = _areas(n, begin, first, scale, spread, len(profile))
        out = weights @ out if axis == 0 else out @ weights.T

    level = (out**2).sum() / out.sum()
    out = np.minimum(out * max(1, LEVEL / level), 1)
    return np.floor(out * 255 + 0.5).astype(np.uint8)


def _areas(
    n: int, begin: float, first: int, scale: float, spread: float, length: int
) -> np.ndarray:
    """Return the share of each of ``length`` pixels in the mean of each of ``n``."""
    middle = first + (np.arange(n) + 0.5 - begin) * scale
    low, high = middle - spread * scale / 2, middle + spread * scale / 2
    edges = np.arange(length)
    overlap = np.minimum(high[:, None], edges + 1) - np.maximum(low[:, None], edges)
    return np.maximum(overlap, 0) / (spread * scale)


def _line_width(kept: np.ndarray) -> float:
    """Return the mean width of the lines: their area by half of their outline.

    Counted along the pixels, an outline is 4/pi too long, in the mean over directions.
    """
    padded = np.pad(kept, 1)
    outline = sum(np.diff(padded, axis=axis).sum() for axis in (0, 1))
    return kept.sum() / (outline * np.pi / 8)
