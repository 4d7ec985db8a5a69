"""The review as one file for a browser: the report, curves, figures, images that flipped.

It holds all that it shows, and needs no network.
"""

import base64
import html
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator
from PIL import Image
from safetensors.numpy import load

from trees import both
from verdict import SHOWN, TEST_IMAGES, Side, flipped, moved

CHARTS = {"loss": "Loss; base dashed, here solid", "accuracy": "Wrong examples, in percent"}
SPLITS = {"train": "tab:blue", "heldout": "tab:orange"}
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 76rem; margin: 0 auto; padding: 1rem; }
p, li { max-width: 46rem; overflow-wrap: anywhere; }
code { font-size: .9em; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border: 1px solid #8888; padding: .2rem .6rem; text-align: left; }
.pair, .sheet { display: grid; gap: 1rem; }
.pair { grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.sheet { grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); }
figure { margin: 0; }
figure img { width: 100%; background: white; }
.sheet img { image-rendering: pixelated; }
figcaption { font-size: .85rem; }
"""


def page(repo: Any, base: str, text: str, old: Side, new: Side) -> str:
    """Return the page of the report ``text`` on ``repo`` against the commit ``base``."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    if not new.stale:
        body += flipped_images(repo, old, new) + curves(base) + figures(base, old, new)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Review against {base[:10]}</title><style>{STYLE}</style>\n"
        f"<h1>Review</h1>\n{body}</html>\n"
    )


def flipped_images(repo: Any, old: Side, new: Side) -> str:
    """Return the contact sheet of test examples that flipped, if DVC has them."""
    same = len(old.classes) == len(new.classes)
    shown = [i for images in flipped(old, new) for i in images[:SHOWN]] if same else []
    path = Path(repo.cache.local.oid_to_path(new.outputs[TEST_IMAGES]))
    if not shown or not path.exists():
        return ""
    tensors = load(path.read_bytes())
    x = tensors["images"] if "images" in tensors else tensors["x"]
    if x.dtype != np.uint8:  # of sequences, three deviations either way
        x = (255 * np.clip(x / 6 + 0.5, 0, 1)).astype(np.uint8)
    cells = []
    for i in shown:
        actual, now = new.classes.loc[i]
        caption = f"{i}: {actual}, read as {old.classes.predicted[i]}, now {now}"
        image = io.BytesIO()
        Image.fromarray(x[i]).save(image, "PNG")
        cells.append(picture(image.getvalue(), caption))
    return f'<h2>Test examples that flipped</h2><div class="sheet">{"".join(cells)}</div>'


def curves(base: str) -> str:
    """Return loss and error by epoch: base and workspace in one plot with one scale."""
    paths = both(base, "plots/history.csv")
    tables = {side: pd.read_csv(path) for side, path in paths.items()}
    charts = [picture(chart(tables, value), title) for value, title in CHARTS.items()]
    return f'<h2>Curves</h2><div class="pair">{"".join(charts)}</div>'


class PlainNumbers(LogFormatter):
    """Labels those ticks that have room, as 0.2 and not as 2e-01."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the label of ``x``, or nothing."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def chart(tables: dict[str, pd.DataFrame], value: str) -> bytes:
    """Draw ``value`` of all ``tables`` by epoch, on a logarithmic scale."""
    figure = Figure(figsize=(6, 4), layout="constrained", dpi=150)
    axes = figure.add_subplot()
    for side, table in tables.items():
        for split, color in SPLITS.items():
            column = table[f"{split}_{value}"]
            y = column if value == "loss" else (100 - 100 * column).clip(lower=0.01)
            line = "--" if side == "base" else "-"
            label = f"{table.heldout.iloc[0] if split == 'heldout' else split}, {side}"
            axes.plot(table.epoch, y, line, color=color, label=label)
    axes.set(yscale="log", xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PlainNumbers())
    axes.yaxis.set_minor_formatter(PlainNumbers(minor_thresholds=(3, 0.5)))  # decades
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def figures(base: str, old: Side, new: Side) -> str:
    """Return the confusion and each figure that moved, old and new side by side."""
    names = {name for name in moved(old, new) if name.endswith(".png")}
    rows = []
    for name in sorted(names | {"plots/confusion.png"}):
        pair = [
            picture(path.read_bytes(), f"{name}, {side}")
            for side, path in both(base, name).items()
        ]
        rows.append(f'<div class="pair">{"".join(pair)}</div>')
    return f"<h2>Figures</h2>{''.join(rows)}"


def picture(content: bytes, caption: str) -> str:
    """Return a figure with the PNG ``content`` in it."""
    data, told = base64.b64encode(content).decode(), html.escape(caption)
    source = f"data:image/png;base64,{data}"
    return (
        f'<figure><img src="{source}" alt="{told}"><figcaption>{told}</figcaption></figure>'
    )
