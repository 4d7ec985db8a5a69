"""Hidden sizes under `fast`, queued as a user would: ``python benchmarks/sweep.py``.

In a fresh clone: ``dvc exp run --queue``, ``dvc queue start``, ``dvc exp show``. Writes
``benchmarks/results/sweep-<machine>.csv`` (hidden size, parameters, accuracy on the
validation and on the test split, seconds that the experiment took, all stages) and a chart.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

import bench
import study
from mnist_lstm import errors

HDIM = (16, 32, 64, 128, 256, 512)


def main() -> None:
    """Run the sweep."""
    overrides = [*study.read(Path("recipes/fast")), "prepare.valid_size=5000"]
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "project"
        subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
        found = sweep(clone, overrides, HDIM)
    path = bench.RESULTS / f"sweep-{bench.machine()}"
    found.to_csv(path.with_suffix(".csv"), index=False, lineterminator="\n")
    draw(found, path.with_suffix(".png"))
    print(found.to_string(index=False))


def sweep(clone: Path, overrides: list[str], hdim: tuple[int, ...]) -> pd.DataFrame:
    """Queue an experiment for each hidden size and run them; return a row each."""
    sizes = "model.hdim=" + ",".join(map(str, hdim))
    changes = [word for change in (*overrides, sizes) for word in ("-S", change)]
    dvc(clone, "repro", "prepare")  # once, for all
    dvc(clone, "exp", "run", "--queue", *changes)
    begun = time.time()
    dvc(clone, "queue", "start", "--jobs", "1")
    while (status := dvc(clone, "queue", "status")).count("Success") < len(hdim):
        if "Failed" in status:
            raise errors.UserError(f"an experiment failed:\n{status}")
        time.sleep(5)
    return rows(json.loads(dvc(clone, "exp", "show", "--json")), begun)


def rows(shown: list[dict], begun: float) -> pd.DataFrame:
    """Return a row for each experiment of ``dvc exp show --json``, by its hidden size.

    They ran one after the other, from the second ``begun`` on, each committed at its end.
    """
    found = []
    for experiment in [e for commit in shown for e in commit.get("experiments") or []]:
        (revision,) = experiment["revs"]
        data = revision["data"]
        metrics = {Path(k).stem: v["data"] for k, v in data["metrics"].items()}
        found.append(
            {
                "hdim": data["params"]["params.yaml"]["data"]["model"]["hdim"],
                "parameters": metrics["model"]["parameters"],
                "valid_accuracy": metrics["evaluate"]["valid"]["accuracy"],
                "test_accuracy": metrics["evaluate"]["test"]["accuracy"],
                "ended": datetime.fromisoformat(data["timestamp"]).timestamp(),
            }
        )
    table = pd.DataFrame(found).sort_values("ended")
    table["seconds"] = table.ended.diff().fillna(table.ended - begun).round()
    return table.drop(columns="ended").sort_values("hdim", ignore_index=True)


def dvc(project: Path, *arguments: str) -> str:
    """Run ``dvc`` in ``project``; return what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path}
    done = subprocess.run(
        ["dvc", *arguments], cwd=project, env=env, capture_output=True, text=True
    )
    if done.returncode:
        raise errors.UserError(f"dvc {arguments[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def draw(found: pd.DataFrame, path: Path) -> None:
    """Draw accuracy over parameters and over time."""
    mpl.use("agg")
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
    axes = (
        ("parameters", "parameters", [1]),
        ("seconds", "seconds, all stages", [1, 2, 5]),
    )
    for panel, (column, label, ticks) in zip(panels, axes, strict=True):
        panel.plot(found[column], 100 * found.valid_accuracy, marker="o", ms=4)
        for row in found.itertuples():
            at = (getattr(row, column), 100 * row.valid_accuracy)
            panel.annotate(row.hdim, at, (4, -11), textcoords="offset points", fontsize=8)
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.xaxis.set_major_locator(LogLocator(subs=ticks, numticks=12))
        panel.margins(0.12)
        panel.set_xlabel(label)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy on the validation split, %")
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    errors.run(main)
