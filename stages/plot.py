"""Draw the figures.

Reads the model, the test split and what ``train`` and ``evaluate`` wrote; writes
``plots/*.png``. Alone: ``python stages/plot.py``.
"""

from mnist_lstm import errors, signals

signals.end_in_one_line()  # from here on: PyTorch takes seconds to import

from pathlib import Path

import pandas as pd
import torch

from mnist_lstm import figures, files, model, params, tensors

PLOTS = Path("plots")
N_MISTAKE = 25
PREDICTIONS = ["index", "label", "prediction", "probability"]
HISTORY = ["heldout", "epoch"]
HISTORY += ["train_loss", "train_accuracy", "heldout_loss", "heldout_accuracy"]
CONFUSION = ["actual", "predicted"]


def main() -> None:
    """Run the stage."""
    settings = params.load()
    path = Path("data/prepared/test.safetensors")
    test = tensors.load(path)
    tensors.check_fit(test, settings.model, path)
    predictions = read_predictions(len(test))
    generator = torch.Generator().manual_seed(settings.plot.seed)
    order = torch.randperm(len(test), generator=generator)

    pick = order[: settings.plot.n_sample]
    drawn = {"samples": figures.samples(test.images[pick], predictions.iloc[pick])}

    wrong = predictions[predictions.label != predictions.prediction]
    surest = wrong.sort_values("probability", ascending=False, kind="stable")[:N_MISTAKE]
    images = test.images[torch.tensor(surest.index.to_list(), dtype=torch.long)]
    drawn["mistakes"] = figures.mistakes(images, surest)

    history = files.read_csv(PLOTS / "history.csv", HISTORY, "train")
    drawn["learning_curve"] = figures.learning_curve(history)
    confusion = files.read_csv(PLOTS / "confusion.csv", CONFUSION, "evaluate")
    drawn["confusion"] = figures.confusion(confusion)

    labels = test.labels[order]
    one_of_each = [order[labels == label][0] for label in labels.unique()]
    some = test.take(torch.stack(one_of_each))
    classifier = model.load(Path("models/model.safetensors"), settings.model)
    with torch.inference_mode():
        p = classifier.read(tensors.to_input(some.images)).softmax(2)
    drawn["reading"] = figures.reading(some.images, some.labels, p)

    for name, figure in drawn.items():
        figures.save(figure, PLOTS / f"{name}.png")


def read_predictions(n: int) -> pd.DataFrame:
    """Read the predictions for the ``n`` test images."""
    path = Path("data/predictions.csv")
    table = files.read_csv(path, PREDICTIONS, "evaluate")
    if len(table) != n:
        raise files.TableError(
            f"{path}: {len(table):,} rows for {n:,} test images; the stage `evaluate` "
            "writes it"
        )
    return table


if __name__ == "__main__":
    errors.run(main)
