"""What the recipes reach, from the studies of `study.py`: ``python benchmarks/recipes.py``.

Puts a table into the README and the log of what was tried on the validation split into
benchmarks/README.md, and draws ``benchmarks/results/recipes.png``: errors on the test split
by images seen.
"""

import json
import statistics
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

import bench
from mnist_lstm import params
from study import RESULTS, overridden, read

NAMES = ("notebook", "fast", "record")
BEGIN, END = "<!-- benchmarks/recipes.py -->\n", "\n<!-- benchmarks/recipes.py: end -->"
LEFT_OUT = ("prepare.valid_size", "train.epochs")  # of what a trial changed


def main() -> None:
    """Write the chart and the table."""
    studies = results(RESULTS)
    draw(studies, RESULTS / "recipes.png")
    for path, text in {
        Path("README.md"): table(studies),
        Path("benchmarks/README.md"): trials(RESULTS / "trials", parameters()),
    }.items():
        path.write_text(bench.between(path.read_text(), BEGIN, text, END))


def results(folder: Path) -> dict[str, dict]:
    """Return the studies that are there, by the names of their recipes."""
    paths = {name: folder / f"study-{name}.json" for name in NAMES}
    return {
        name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()
    }


def parameters() -> dict[str, dict]:
    """Return the parameters of each recipe."""
    default = params.load()
    return {
        name: overridden(default, read(Path("recipes", name))).model_dump()
        for name in NAMES
    }


def table(studies: dict[str, dict]) -> str:
    """Return a row for each recipe, as Markdown."""
    rows = [
        "| recipe | test accuracy, mean and standard deviation | worst to best | seeds "
        "| epochs | training | on |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, study in studies.items():
        spread = study.get("standard_deviation")
        machines = sorted({run["machine"].partition(" on ")[2] for run in study["runs"]})
        cells = [
            f"`{name}`",
            f"{study['mean']:.2%}" + (f" ± {100 * spread:.2f}" if spread else ""),
            f"{study['worst']:.2%} to {study['best']:.2%}",
            str(len(study["runs"])),
            str(study["params"]["train"]["epochs"]),
            duration(study["median_seconds_of_training"]),
            "; ".join(machines),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def trials(folder: Path, recipes: dict[str, dict]) -> str:
    """Return a row for each trial towards one of ``recipes``, as Markdown.

    The best come first within the same epochs; each says what it changed of its recipe.
    """
    found = [
        (path.stem.split("-")[1], json.loads(path.read_text()))
        for path in folder.glob("study-*.json")
    ]
    found.sort(key=lambda trial: (trial[1]["params"]["train"]["epochs"], -trial[1]["mean"]))
    default = params.load().model_dump()
    rows = [
        "| epochs | recipe | what differs from it | validation accuracy | loss | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for name, study in found:
        losses = [run["heldout_loss"][-1] for run in study["runs"] if "heldout_loss" in run]
        differs = changes(study["params"], recipes[name], default)
        cells = [
            str(study["params"]["train"]["epochs"]),
            f"`{name}`",
            ", ".join(f"`{change}`" for change in differs) or "nothing",
            f"{study['mean']:.2%}",
            f"{statistics.mean(losses):.4f}" if losses else "",
            str(len(study["runs"])),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def changes(values: dict, recipe: dict, default: dict) -> list[str]:
    """Return KEY=VALUE for each of ``values`` that is another than in ``recipe``.

    A parameter that a trial did not know yet was off, as it is by ``default``.
    """
    return [
        f"{leaf}={value:g}" if isinstance(value, float) else f"{leaf}={value}"
        for section, leaves in default.items()
        for leaf, value in (leaves | values.get(section, {})).items()
        if value != recipe[section][leaf] and f"{section}.{leaf}" not in LEFT_OUT
    ]


def duration(seconds: float) -> str:
    """Return ``seconds`` as a person says them."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def draw(studies: dict[str, dict], path: Path) -> None:
    """Draw the mean and the spread of the errors after each epoch, by images seen."""
    mpl.use("agg")
    figure, panel = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for name, study in studies.items():
        errors = [[100 * (1 - a) for a in run["heldout_accuracy"]] for run in study["runs"]]
        by_epoch = list(zip(*errors, strict=True))
        seen = [study["train_images"] * (epoch + 1) for epoch in range(len(by_epoch))]
        means = [sum(values) / len(values) for values in by_epoch]
        label = f"{name} ({len(errors)} seeds)"
        (line,) = panel.plot(seen, means, marker="o", ms=4, label=label)
        worst, best = map(max, by_epoch), map(min, by_epoch)
        panel.vlines(seen, list(best), list(worst), color=line.get_color(), alpha=0.5)
    panel.set_xscale("log")
    panel.set_yscale("log")
    ticks = [0.3, 0.5, 1, 2, 5, 10]
    panel.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
    seen = [60_000 * n for n in (1, 2, 5, 10, 20, 40)]
    panel.set_xticks(seen, [f"{n // 1000:,}" for n in seen])
    panel.set_xlabel("images seen, in thousands")
    panel.set_ylabel("test errors, %")
    panel.grid(alpha=0.3)
    panel.legend(frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
