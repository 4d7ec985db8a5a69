"""Train the LSTM.

Reads ``data/prepared/``, writes ``models/model.safetensors``, ``metrics/train.json`` (the
last epoch) and ``plots/history.csv`` (a row an epoch, as they end). The held-out split that
it watches is ``valid`` where there is one, else ``test``.
Alone: ``python stages/train.py``.
"""

from pathlib import Path

import pandas as pd
import torch

from mnist_lstm import device, errors, files, model, params, tensors, training

PREPARED = Path("data/prepared")


def main() -> None:
    """Run the stage."""
    settings = params.load()
    device.make_deterministic(settings.train.seed)
    on = device.select(settings.train.device)
    print(f"PyTorch {torch.__version__} on {device.describe(on)}")

    name = "valid" if (PREPARED / "valid.safetensors").exists() else "test"
    train = tensors.load(PREPARED / "train.safetensors", on)
    heldout = tensors.load(PREPARED / f"{name}.safetensors", on)
    training.check_fit(settings.model, train)

    classifier = model.LSTMClassifier(**settings.model.model_dump()).to(on)
    history = []
    for row in training.fit(classifier, train, heldout, settings.train):
        history.append({"heldout": name} | row)
        files.write_csv(Path("plots/history.csv"), pd.DataFrame(history))
        print(training.sentence(row, name), flush=True)
    model.save(classifier, Path("models/model.safetensors"))
    files.write_json(Path("metrics/train.json"), history[-1])


if __name__ == "__main__":
    errors.run(main)
