"""How a training step grows with hdim, batch and sequence length; part of `make bench`.

Each point is the median of some steps of the model of params.yaml with one size changed, on
random sequences, in float32 and bfloat16: a CSV and a chart.
"""

import itertools
import statistics
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

import ways
from mnist_lstm import device, model, params, training

AXES = {
    "hdim": (64, 128, 256, 512, 1024),
    "batch_size": (64, 128, 256, 512, 1024, 2048, 4096),
    "length": (28, 56, 112, 196, 392, 784),
}
WORDS = {"hdim": "hidden size", "batch_size": "batch", "length": "sequence length"}
WARM_UP, STEPS = 2, 5


def main(path: Path, precision: str) -> None:
    """Write ``path`` with .csv and .png; ``precision`` is the one to draw boldly."""
    device.make_deterministic(0)
    device.keep_memory()
    settings = params.load()
    on = device.select(settings.train.device)
    rows = []
    for (axis, values), way in itertools.product(AXES.items(), ("fp32", "bf16")):
        for value in values:
            rows.append({"axis": axis, "value": value, "precision": way})
            rows[-1] |= measure(settings, on, way, **{axis: value})
            print(rows[-1], flush=True)
    found = pd.DataFrame(rows)
    found.to_csv(path.with_suffix(".csv"), index=False, lineterminator="\n")
    draw(found, path.with_suffix(".png"), precision)


def measure(
    settings: params.Params,
    on: torch.device,
    precision: str,
    hdim: int | None = None,
    batch_size: int | None = None,
    length: int = 28,
) -> dict:
    """Return the seconds of a step, sequences a second and FLOP/s."""
    n = batch_size or settings.train.batch_size
    sizes = settings.model.model_copy(update={"hdim": hdim or settings.model.hdim})
    classifier = model.LSTMClassifier(**sizes.model_dump(), precision=precision).to(on)
    run = training.Run(classifier, settings.train)
    x = torch.rand(n, length, sizes.xdim, device=on)
    y = torch.randint(sizes.ydim, (n,), device=on)

    def step() -> None:
        loss = cross_entropy(run.model(x), y)
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()

    times = [ways.seconds(on, step) for _ in range(WARM_UP + STEPS)][WARM_UP:]
    median = statistics.median(times)
    flop = ways.flop_a_step(sizes, n, length)
    return {
        "seconds_a_step": round(median, 5),
        "sequences_a_second": round(n / median, 1),
        "gflops": round(flop / median / 1e9, 1),
    }


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
