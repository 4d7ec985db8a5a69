"""How a training step grows with hdim, batch and sequence length; part of `make bench`.

Each point is the median of some steps of the model of params.yaml with one size changed, on
random sequences, in float32 and, where the device can, in bfloat16: a CSV and a chart.
"""

import contextlib
import statistics
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import torch

import ways
from mnist_lstm import device, model, params, training

AXES = {
    "hdim": (64, 128, 256, 512, 1024),
    "batch_size": (64, 128, 256, 512, 1024, 2048, 4096),
    "length": (28, 56, 112, 196, 392, 784),
}
WORDS = {"hdim": "hidden size", "batch_size": "batch", "length": "sequence length"}
WARM_UP, STEPS = 4, 5


def main(path: Path, precision: str) -> None:
    """Write ``path`` with .csv and .png; ``precision`` is the one to draw boldly."""
    device.make_deterministic(0)
    device.keep_memory()
    settings = params.load()
    on = device.select(settings.train.device)
    able = precisions(on)
    rows = []
    for axis, values in AXES.items():
        for value in values:
            rows += measure(settings, on, able, axis, value)
            print(*rows[-len(able) :], sep="\n", flush=True)
    found = pd.DataFrame(rows)
    found.to_csv(path.with_suffix(".csv"), index=False, lineterminator="\n")
    draw(found, path.with_suffix(".png"), precision)


def precisions(on: torch.device) -> list[str]:
    """Return the precisions in which ``on`` runs an LSTM."""
    able = ["fp32"]
    with contextlib.suppress(params.ParamsError):
        able.append(device.precision("bf16", on))
    return able


def measure(
    settings: params.Params, on: torch.device, able: list[str], axis: str, value: int
) -> list[dict]:
    """Return a row for each precision, measured in turn: seconds, sequences/s, GFLOP/s."""
    sizes, n, length = settings.model, settings.train.batch_size, 28
    if axis == "hdim":
        sizes = sizes.model_copy(update={"hdim": value})
    elif axis == "batch_size":
        n = value
    else:
        length = value
    x = torch.rand(n, length, sizes.xdim, device=on)
    y = torch.randint(sizes.ydim, (n,), device=on)
    runs = {}
    for name in able:
        classifier = model.LSTMClassifier(**sizes.model_dump(), precision=name).to(on)
        runs[name] = training.Run(classifier, settings.train, settings.augment)
    times = {name: [] for name in able}
    for _ in range(WARM_UP + STEPS):
        for name, run in runs.items():
            times[name].append(ways.seconds(on, lambda run=run: run.step(x, y)))
    rows = []
    for name in able:
        median = statistics.median(times[name][WARM_UP:])
        rows.append(
            {
                "axis": axis,
                "value": value,
                "precision": name,
                "seconds_a_step": round(median, 5),
                "sequences_a_second": round(n / median, 1),
                "gflops": round(ways.flop_a_step(sizes, n, length) / median / 1e9, 1),
            }
        )
    return rows


def draw(found: pd.DataFrame, path: Path, precision: str) -> None:
    """Draw GFLOP/s over each axis."""
    mpl.use("agg")
    figure, panels = plt.subplots(1, 3, figsize=(9, 3), sharey=True, layout="constrained")
    for panel, axis in zip(panels, AXES, strict=True):
        for way, rows in found[found.axis == axis].groupby("precision"):
            style = {"lw": 2 if way == precision else 1, "marker": "o", "ms": 4}
            panel.plot(rows.value, rows.gflops, label=way, **style)
        panel.set_xscale("log", base=2)
        panel.set_xticks(AXES[axis], AXES[axis], minor=False, fontsize=7)
        panel.set_xlabel(WORDS[axis])
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("training, GFLOP/s")
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)
