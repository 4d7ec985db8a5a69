"""What the recipes reach, from the studies of `study.py`: ``python benchmarks/recipes.py``.

Puts a table into the README, and draws ``benchmarks/results/recipes.png``: errors on the
test split by images seen.
"""

import json
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

RESULTS = Path("benchmarks/results")
NAMES = ("notebook", "fast", "record")
BEGIN, END = "<!-- benchmarks/recipes.py -->\n", "\n<!-- benchmarks/recipes.py: end -->"


def main() -> None:
    """Write the chart and the table."""
    studies = read(RESULTS)
    draw(studies, RESULTS / "recipes.png")
    readme = Path("README.md")
    readme.write_text(with_table(readme.read_text(), studies))


def read(folder: Path) -> dict[str, dict]:
    """Return the studies that are there, by the names of their recipes."""
    paths = {name: folder / f"study-{name}.json" for name in NAMES}
    return {
        name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()
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


def duration(seconds: float) -> str:
    """Return ``seconds`` as a person says them."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def with_table(readme: str, studies: dict[str, dict]) -> str:
    """Return the README with the table in place of the old."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table(studies) + END + after


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
    seen = [60_000 * n for n in (1, 2, 5, 10, 20, 50, 100)]
    panel.set_xticks(seen, [f"{n // 1000:,}" for n in seen])
    panel.set_xlabel("images seen, in thousands")
    panel.set_ylabel("test errors, %")
    panel.grid(alpha=0.3)
    panel.legend(frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
