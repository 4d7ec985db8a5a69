"""How one example is drawn, and what the classes are called, in every figure.

An image is drawn in greys. A sequence is drawn in standardised units with time running
down: of few values as lines side by side, of more as a heat map.
"""

import functools
from collections import Counter
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.image import AxesImage
from torch.nn.functional import adaptive_avg_pool1d

from mnist_lstm.data.splits import Split

MOST_ROWS = 150  # of a heat map; a panel has hardly more pixels
_LONGEST = 14  # characters of a class's name
_N_LINE = 6  # values of a step that are told apart as lines


class Examples:
    """The examples of a split, to be drawn in one figure on one scale."""

    def __init__(self, split: Split):
        """Find out which scale they need."""
        self.is_images = split.is_images
        self.thing, self.step = ("image", "row") if self.is_images else ("sequence", "step")
        self.each = [x[:n].numpy() for x, n in zip(split.x, split.steps(), strict=True)]
        q = split.x.shape[2]
        self.has_lines = not self.is_images and q <= _N_LINE
        names = split.scaling.get("features") or [f"value {i}" for i in range(1, q + 1)]
        self.names = [label(name, 20) for name in names]
        self.reach = 1.0  # deviations: what a lane or the colours have room for
        if not self.is_images and self.each:  # a few are far out
            sizes = np.abs(np.concatenate(self.each))
            self.reach = max(1.0, float(np.quantile(sizes, 0.99)))
        self._drawn: Any = None  # what a key explains

    def draw(self, axes: Axes, i: int) -> None:
        """Draw example ``i``."""
        x = self.each[i]
        if self.is_images:
            axes.imshow(x, cmap="gray", vmin=0, vmax=255)
            axes.set_axis_off()
            return
        axes.set_axis_on()
        axes.set_xticks([])
        axes.tick_params(length=2, pad=1)
        ends, rows = sorted({1, len(x)}), min(len(x), MOST_ROWS)
        axes.set_yticks(np.linspace(0, rows - 1, len(ends)), map(str, ends), fontsize=6)
        if not self.has_lines:
            self._drawn = heat_map(axes, x, "RdBu_r", -self.reach, self.reach)
            return
        marker = "." if len(x) <= 30 else ""  # each step, where there is room
        time, lanes = np.linspace(0, rows - 1, len(x)), np.arange(x.shape[1])
        axes.vlines(lanes, -0.5, rows - 0.5, "0.85", linewidth=0.8)
        self._drawn = axes.plot(
            lanes + x / (2 * self.reach), time, marker=marker, markersize=3, linewidth=0.8
        )
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_xlim(-0.55, lanes[-1] + 0.55)

    def explain(self, figure: Figure, **bar: Any) -> None:
        """Say what lines or colours stand for, in a legend or as ``bar`` places it."""
        if self.has_lines and self._drawn:
            place: Any = (
                "outside lower center" if figure.get_layout_engine() else "lower center"
            )
            figure.legend(
                self._drawn,
                self.names,
                title=f"standardised; half a lane is {self.reach:.1f} deviations",
                fontsize=8,
                title_fontsize=8,
                loc=place,
                ncols=len(self.names),
                frameon=False,
            )
        elif self._drawn:
            text = f"{len(self.names)} values, standardised"
            key = figure.colorbar(self._drawn, extend="both", **bar)
            key.set_label(text, fontsize=8)
            key.ax.tick_params(labelsize=8)


def heat_map(axes: Axes, values: Any, cmap: str, low: float, high: float) -> AxesImage:
    """Fill ``axes`` with ``values`` [L x K]; of very many rows, with means of some."""
    rows = torch.as_tensor(values)
    if len(rows) > MOST_ROWS:
        rows = adaptive_avg_pool1d(rows.T, MOST_ROWS).T
    return axes.imshow(
        rows.numpy(), cmap, vmin=low, vmax=high, aspect="auto", interpolation="nearest"
    )


def drawable(classes: Sequence[str]) -> list[str]:
    """Return what the figures call the classes: short, each another, in the font's signs.

    A name of which the font lacks a character, or which is like another once it is short,
    becomes the number of its class: "#7".
    """
    short = [_shortened(name, _LONGEST) for name in classes]
    count = Counter(short)
    names = [
        name if count[name] == 1 and _in_font(name) == name else f"#{i}"
        for i, name in enumerate(short)
    ]
    return [name.replace("$", r"\$") for name in names]  # which begins a formula


def label(text: str, most: int) -> str:
    """Return ``text`` as a figure can show it, in at most ``most`` characters."""
    return _in_font(_shortened(text, most)).replace("$", r"\$")


def rotation(names: Sequence[str]) -> int:
    """Return by how many degrees to turn the names below an axis: long ones stand."""
    return 0 if max(map(len, names)) <= 2 else 90


def _shortened(name: str, most: int) -> str:
    """Leave out what is in the middle: classes may differ at either end."""
    if len(name) <= most:
        return name
    end = (most - 1) // 2
    return f"{name[: most - 1 - end]}…{name[-end:]}"


def _in_font(name: str) -> str:
    """Return ``name`` with ? for what the font lacks: matplotlib would warn of it."""
    return "".join(c if ord(c) in _letters() else "?" for c in name)


@functools.cache
def _letters() -> Container[int]:
    return get_font(findfont("DejaVu Sans")).get_charmap()  # matplotlib's own
