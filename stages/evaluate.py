"""Evaluate the trained model on every split.

Reads ``models/model.safetensors`` and ``data/prepared/``. Writes
``metrics/evaluate.json`` (loss and accuracy on each split),
``plots/accuracy_by_class.csv``, and of the test split ``plots/confusion.csv`` and
``data/predictions.csv``. Alone: ``python stages/evaluate.py``.
"""

from mnist_lstm.plumbing import script

script.begin()  # before the imports below, which take seconds

from pathlib import Path

import pandas as pd
from torch import Tensor

from mnist_lstm.data.splits import Split, load_split, split_paths
from mnist_lstm.device import retain_freed_memory, set_up
from mnist_lstm.evaluation import compute_logits, score
from mnist_lstm.models.store import load_model
from mnist_lstm.plumbing.params import load_params
from mnist_lstm.tables import write_csv, write_json


def main() -> None:
    """Write what the model is worth."""
    retain_freed_memory()
    params = load_params()
    # Nothing is drawn: the algorithms matter, not the seed.
    compute = set_up(params.train.device, params.train.precision, seed=0)
    model = load_model(Path("models/model.safetensors"), params.model, *compute)
    metrics = {}
    by_class = {}
    for name, path in split_paths(Path("data/prepared")).items():
        split = load_split(path, params.model, compute.device)
        logits = compute_logits(model, split)
        metrics[name] = score(logits, split.labels)._asdict()
        table = predictions(logits, split)
        by_class[name] = (table.actual == table.predicted).groupby(table.actual).mean()
        print("{:6}loss {loss:.4f}  accuracy {accuracy:.4f}".format(name, **metrics[name]))
    # The last is the test split. A class without examples in a split has no accuracy there.
    write_csv(Path("plots/confusion.csv"), table[["actual", "predicted"]])
    write_csv(Path("data/predictions.csv"), table)
    write_json(Path("metrics/evaluate.json"), metrics)
    accuracies = pd.DataFrame(by_class, index=list(split.classes))
    accuracies = accuracies.rename_axis("class").reset_index()
    write_csv(Path("plots/accuracy_by_class.csv"), accuracies)


def predictions(logits: Tensor, split: Split) -> pd.DataFrame:
    """Return a row an example: its class, the predicted one, and that one's probability."""
    predicted = logits.argmax(1)  # as the accuracy has it, where two are as likely
    probability = logits.softmax(1).gather(1, predicted.unsqueeze(1)).squeeze(1)
    return pd.DataFrame(
        {
            "actual": split.names(split.labels),
            "predicted": split.names(predicted),
            "probability": probability.tolist(),
        }
    )


if __name__ == "__main__":
    script.run(main, lower=("model.hdim", "model.n_layer"))
