"""Draw the figures.

Reads the model, the test split and what ``train`` and ``evaluate`` wrote; writes
``plots/*.png``. Alone: ``python stages/plot.py``.
"""

from mnist_lstm.plumbing import script

script.begin()  # before the imports below, which take seconds

from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from mnist_lstm import figures
from mnist_lstm.data.splits import load_split, to_input
from mnist_lstm.drawing import drawable
from mnist_lstm.models.gates import gates_of
from mnist_lstm.models.store import load_model
from mnist_lstm.plumbing.params import load_params
from mnist_lstm.tables import read_predictions

PLOTS = Path("plots")
N_MISTAKE = 25
N_READING = 10


def main() -> None:
    """Run the stage."""
    params = load_params()
    test = load_split(Path("data/prepared/test.safetensors"), params.model)
    table = read_predictions(Path("data/predictions.csv"), test.names(test.labels))
    classes = tuple(drawable(test.classes))
    called = dict(zip(test.classes, classes, strict=True))
    table = table.assign(
        actual=table.actual.map(called), predicted=table.predicted.map(called)
    )
    test = replace(test, classes=classes)
    generator = torch.Generator().manual_seed(params.plot.seed)
    order = torch.randperm(len(test), generator=generator)

    pick = order[: params.plot.n_sample]
    drawn = {"samples": figures.samples(test.take(pick), table.iloc[pick])}

    wrong = table[table.actual != table.predicted]
    confident = wrong.sort_values("probability", ascending=False, kind="stable")[:N_MISTAKE]
    rows = torch.tensor(confident.index.to_list(), dtype=torch.long)
    drawn["mistakes"] = figures.mistakes(test.take(rows), confident)

    history = pd.read_csv(PLOTS / "history.csv")
    drawn["learning_curve"] = figures.learning_curve(history)
    drawn["confusion"] = figures.confusion(table, classes)

    labels = test.labels[order]
    one_of_each = torch.stack([order[labels == c][0] for c in labels.unique()])
    if len(one_of_each) > N_READING:
        some_of_them = torch.randperm(len(one_of_each), generator=generator)[:N_READING]
        one_of_each = one_of_each[some_of_them.sort().values]
    some = test.take(one_of_each)
    model = load_model(Path("models/model.safetensors"), params.model)
    with torch.inference_mode():
        p = model.read(to_input(some.x)).softmax(2)
    reader = "the LSTM" if model.is_lstm else "the model"
    drawn["reading"] = figures.reading(some, p, reader)

    # Of these, the one about which it changes its mind the most.
    changes = [p[:n].diff(dim=0).abs().sum() for p, n in zip(p, some.steps(), strict=True)]
    one = some.take(torch.stack(changes).argmax()[None])
    gates = gates_of(model, to_input(one.x))
    drawn["gates"] = (
        figures.gates(one, gates)
        if gates
        else figures.note(f"{model.called.capitalize()} has no gates that are drawn here.")
    )

    for name, figure in drawn.items():
        figures.save_figure(figure, PLOTS / f"{name}.png")


if __name__ == "__main__":
    script.run(main, lower=("model.hdim", "model.n_layer"))
