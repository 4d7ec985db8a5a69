"""The figures. matplotlib draws the same bytes every time, here and in drawing.py alone.

Figures are made without pyplot: no window, no state, whatever backend a notebook has set,
and half the time to import.
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter
from torch import Tensor

from mnist_lstm.data.splits import Split
from mnist_lstm.drawing import Examples, heat_map, label, rotation
from mnist_lstm.models.gates import Gates
from mnist_lstm.plumbing.files import write_bytes

# The user's own matplotlibrc must not change what is drawn.
_own_style = matplotlib.rc_context(matplotlib.rcParamsDefault)

_SHOWN = (0.05, 0.9995)  # accuracies; what lies outside is drawn at the edge
_N_UNIT = 32  # of an LSTM, in a heat map
_ACCURACIES = (0.1, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)  # ticks
_N_CONFUSED = 30  # classes for which the confusion has room
_N_READ = 10  # classes beside an example in the reading


@_own_style
def samples(split: Split, table: pd.DataFrame) -> Figure:
    """Draw M examples under prediction and label, the wrong ones in red.

    ``table`` has M rows with ``actual`` and ``predicted``.
    """
    above = [f"Pred:{name}" for name in table.predicted]
    return _grid(split, table, above, "prediction and label", fontsize=12)


@_own_style
def mistakes(split: Split, table: pd.DataFrame) -> Figure:
    """Draw M mistakes under prediction, its probability, and label.

    ``table`` has M rows, or none, with ``actual``, ``predicted`` and ``probability``.
    """
    above = [f"Pred:{row.predicted} ({row.probability:.1%})" for row in table.itertuples()]
    what = "the most confident mistakes" if above else "no mistakes"
    return _grid(split, table, above, what, fontsize=9)


@_own_style
def learning_curve(history: pd.DataFrame) -> Figure:
    """Draw accuracy and loss by epoch, the rows of :func:`mnist_lstm.training.loop.fit`."""
    figure = _figure(10, 4.2)
    figure.suptitle("Learning curve (epoch 0: untrained)")
    left, right = figure.subplots(1, 2)
    for axes, name in ((left, "accuracy"), (right, "loss")):
        of_train = "train" if name == "accuracy" else "train (while it learnt)"
        for split, shown in (("train", of_train), ("heldout", history.heldout[0])):
            values = history[f"{split}_{name}"]
            if name == "accuracy":  # the scale below has no place for 0 and 1
                values = values.clip(*_SHOWN)
            axes.plot(history.epoch, values, marker="o", label=shown)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if "kept" in history:
            (kept,) = history.epoch[history.kept == 1]
            axes.axvline(kept, color="black", linestyle=":", label=f"kept: epoch {kept}")
        axes.grid(alpha=0.3)
        axes.legend()
    # From 0.98 to 0.99 is as far as from 0.8 to 0.9: half of the mistakes are gone.
    left.set(ylabel="accuracy", yscale="logit")
    left.set_ylim(_SHOWN[0] * 0.9, 1 - (1 - _SHOWN[1]) * 0.9)
    left.yaxis.set_major_locator(FixedLocator(_ACCURACIES))
    left.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    left.yaxis.set_minor_locator(NullLocator())
    right.set(ylabel="loss (nats)", yscale="log")
    right.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    return figure


@_own_style
def confusion(table: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """Draw how often each of ``classes`` was taken for which; colour shows the mistakes.

    Of many classes, those with the most mistakes are shown. ``table`` has a row an example,
    with ``actual`` and ``predicted``.
    """
    counts = pd.crosstab(table.actual, table.predicted)
    counts = counts.reindex(index=classes, columns=classes, fill_value=0).to_numpy()
    title = f"Test split: {counts.trace():,} of {len(table):,} right, mistakes in colour"
    wrong = counts - np.diag(counts.diagonal())
    if len(classes) > _N_CONFUSED:
        title += f"\n{_N_CONFUSED} of {len(classes):,} classes, those with most mistakes"
        most = np.argsort(-(wrong.sum(0) + wrong.sum(1)), kind="stable")
        shown = np.sort(most[:_N_CONFUSED])
        counts, wrong = (matrix[np.ix_(shown, shown)] for matrix in (counts, wrong))
        classes = [classes[i] for i in shown]

    more = 0.4 * max(0, len(classes) - 10)  # inches
    figure = _figure(7 + more, 6.4 + more)
    axes = figure.subplots()
    axes.set(title=title, xlabel="predicted", ylabel="actual")
    image = axes.imshow(wrong, cmap="Reds", vmin=0)
    for (i, j), count in np.ndenumerate(counts):
        color = "white" if wrong[i, j] > wrong.max() / 2 else "black"
        weight = "bold" if i == j else "normal"
        axes.text(j, i, count or "", ha="center", va="center", color=color, weight=weight)
    axes.set_xticks(range(len(classes)), classes, rotation=rotation(classes))
    axes.set_yticks(range(len(classes)), classes)
    figure.colorbar(image, label="mistakes", shrink=0.8)
    return figure


@_own_style
def reading(split: Split, probabilities: Tensor, reader: str = "the LSTM") -> Figure:
    """Draw, row beside row, an example and the class probabilities once that row is read.

    Of many classes, those that were the most probable after some row are shown.
    ``probabilities`` are float [M x L x classes].
    """
    titles = [f"Label:{name}" for name in split.names(split.labels)]
    title = f"When does {reader} make up its mind? Class probabilities as {{}}s are read"
    return _readings(split, probabilities, titles, "Pred:{}", title)


@_own_style
def predictions(split: Split, files: Sequence[str], probabilities: Tensor) -> Figure:
    """Draw what the model saw of files, as :func:`reading`, under their names."""
    titles = [label(file, 16) for file in files]
    title = "What the model saw, and what it believed after each {}"
    return _readings(split, probabilities, titles, "{} {:.0%}", title)


def _readings(
    split: Split, probabilities: Tensor, titles: list[str], answer: str, title: str
) -> Figure:
    """Draw readings under ``titles``; ``answer`` takes the class and its probability."""
    examples, classes = Examples(split), split.classes
    n_column = min(5, len(titles))
    n_row = math.ceil(len(titles) / n_column)
    wide = 1.3  # an example, in widths of its probabilities
    size, height = (12, 2.0) if max(map(len, classes)) <= 3 else (7, 2.6)
    keys = 1.3 if examples.is_images or examples.has_lines else 2.1
    figure = _figure(max(5.2, 2.6 * n_column), keys + height * n_row)
    figure.suptitle(title.format(examples.step))
    grid = figure.subplots(
        n_row, 2 * n_column, squeeze=False, width_ratios=n_column * (wide, 1)
    ).flatten()
    for axes in grid:
        axes.set_axis_off()
    pairs = zip(grid[::2], grid[1::2], strict=True)
    for i, ((left, right), above) in enumerate(zip(pairs, titles, strict=False)):
        p = probabilities[i, : len(examples.each[i])]
        examples.draw(left, i)
        left.set_title(above, fontsize=size)
        # As tall as the example: what stands beside a row was known once it was read.
        shown = p.amax(0).topk(min(_N_READ, len(classes))).indices.sort().values
        heat = heat_map(right, p[:, shown], "viridis", 0, 1)
        high, across = examples.each[i].shape if examples.is_images else (height / 2.2, 1)
        if not examples.is_images:
            left.set_box_aspect(high / across)
        right.set_box_aspect(wide * (high / across))
        right.set_axis_on()
        best = p[-1].argmax()
        right.set_title(answer.format(classes[best], p[-1, best]), fontsize=size)
        names = [classes[i] for i in shown]
        right.set_xticks(range(len(names)), names, fontsize=6, rotation=rotation(names))
        right.set_yticks([])
        right.set_xlabel("class", fontsize=8)
    figure.colorbar(heat, ax=grid, label="probability", location="bottom", shrink=0.4)
    examples.explain(figure, ax=grid, location="bottom", shrink=0.4)
    return figure


@_own_style
def gates(split: Split, layer: Gates) -> Figure:
    """Draw, row beside row, an example and what a layer's gates and cell state are then.

    It is the one of ``split``; each of the gates of ``layer``, as it read it, [1 x L x D].
    """
    examples = Examples(split)
    (length,), (name,) = split.steps(), split.names(split.labels)
    cell = layer.cell[0, :length]
    # From the most negative to the most positive: as the rows are read, a slope appears.
    order = cell[-1].argsort(stable=True)
    pick = order[torch.linspace(0, len(order) - 1, min(_N_UNIT, len(order))).long()]
    most = max(1, math.ceil(cell[:, pick].abs().quantile(0.95)))  # a few are far out

    step, one = examples.step, "an image" if split.is_images else "a sequence"
    figure = _figure(9, 4.25)
    figure.suptitle(
        f"What do the gates do? The last layer as it reads {one}, {step} by {step}\n"
        f"A column is a unit, {len(pick)} of {len(order)}, "
        f"in the order of their cell states after the last {step}",
        fontsize=10,
    )
    high = 2.1  # a heat map, in its widths
    wide = high * min(2, split.x.shape[2] / length) if split.is_images else 1.4
    grid = figure.add_gridspec(
        2, 6, width_ratios=(wide, 1, 1, 1, 1, 1), height_ratios=(1, 0.04)
    )
    left = figure.add_subplot(grid[0, 0])
    examples.draw(left, 0)
    if not split.is_images:
        left.set_box_aspect(high / wide)
    left.set_title(f"Label:{name}\nread from the top", fontsize=10)
    panels = {
        "input": ("input gate\nlets in", "viridis", 0, 1),
        "forget": ("forget gate\nkeeps", "viridis", 0, 1),
        "output": ("output gate\nlets out", "viridis", 0, 1),
        "candidate": ("candidate\nto be let in", "RdBu_r", -1, 1),
        "cell": ("cell state\nthe memory", "RdBu_r", -most, most),
    }
    heat = {}
    for column, (name, (title, cmap, low, top)) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(grid[0, column])
        axes.set(box_aspect=high, xticks=[], yticks=[])  # as tall as the image
        axes.set_title(title, fontsize=10)
        values = getattr(layer, name)[0, :length, pick]
        heat[name] = heat_map(axes, values, cmap, low, top)
    bars: dict[str, tuple[Any, dict[str, Any]]] = {
        "input": (grid[1, 1:4], {"label": "0: closed, 1: open"}),
        "candidate": (grid[1, 4], {}),
        "cell": (grid[1, 5], {"extend": "both"}),
    }
    for name, (place, how) in bars.items():
        cax, ticks = figure.add_subplot(place), MaxNLocator(2)
        figure.colorbar(heat[name], cax=cax, orientation="horizontal", ticks=ticks, **how)
    examples.explain(figure, ax=left, location="bottom")
    return figure


@_own_style
def note(text: str) -> Figure:
    """Return a figure that says ``text`` where there is nothing to draw."""
    figure = _figure(9, 1)
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=12)
    return figure


@_own_style
def save_figure(figure: Figure, path: Path) -> None:
    """Write ``figure`` to ``path`` as PNG, without date or version."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=100, metadata={"Software": None})
    write_bytes(path, data.getvalue())


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure (inches) that arranges its parts by itself."""
    return Figure(figsize=(width, height), layout="constrained")


def _grid(
    split: Split, table: pd.DataFrame, above: list[str], what: str, fontsize: int
) -> Figure:
    """Draw examples in a square grid, each under ``above`` and its label, mistakes in red.

    They have ``fontsize`` (points) where each pair has room in one line.
    """
    examples = Examples(split)
    titles = [f"Label:{name}" for name in table.actual]
    colors = np.where(table.actual == table.predicted, "black", "tab:red")
    side = max(1, math.ceil(math.sqrt(len(titles))))
    inches = max(6, 2 * side)
    # Placed by hand: constrained layout would take seconds to find out as much.
    figure = Figure(figsize=(inches, inches + 0.6))
    figure.suptitle(f"Test {examples.thing}s: {what}", fontsize=16)
    room = 220 // fontsize  # characters
    fits = all(len(f"{up}, {low}") <= room for up, low in zip(above, titles, strict=True))
    between, fontsize, space = (", ", fontsize, 0.2) if fits else ("\n", 8, 0.3)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.91, wspace=0.05, hspace=space)
    if not examples.is_images:  # with room for the numbers of steps, and a key
        figure.subplots_adjust(
            0.34 / inches, 0.7 / inches, top=1 - 0.85 / inches, wspace=0.2
        )
    grid = list(figure.subplots(side, side, squeeze=False).flatten())
    for axes in grid:
        axes.set_axis_off()
    for i, (axes, color) in enumerate(zip(grid, colors, strict=False)):
        examples.draw(axes, i)
        axes.set_title(f"{above[i]}{between}{titles[i]}", color=color, fontsize=fontsize)
    examples.explain(
        figure, ax=grid, location="bottom", fraction=0.015, pad=0.03, aspect=40, shrink=0.5
    )
    return figure
