"""Judge the trained model on every split.

Reads ``models/model.safetensors`` and ``data/prepared/``. Writes
``metrics/evaluate.json``, and of the test split ``plots/confusion.csv`` and
``data/predictions.csv``. Alone: ``python stages/evaluate.py``.
"""

from mnist_lstm import errors, signals

signals.end_in_one_line()  # from here on: PyTorch takes seconds to import

from pathlib import Path

import pandas as pd

from mnist_lstm import device, evaluation, files, model, params, tensors

PREPARED = Path("data/prepared")


def main() -> None:
    """Run the stage."""
    settings = params.load()
    with device.enough_memory("lower model.hdim or model.n_layer in params.yaml"):
        evaluate(settings)


def evaluate(settings: params.Params) -> None:
    """Write what the model is worth."""
    device.make_deterministic(seed=0)  # nothing is drawn; the algorithms matter
    on = device.select(settings.train.device)
    precision = device.precision(settings.train.precision, on)
    path = Path("models/model.safetensors")
    classifier = model.load(path, settings.model, on, precision)
    paths = {name: PREPARED / f"{name}.safetensors" for name in ("train", "valid", "test")}
    if not paths["valid"].exists():
        del paths["valid"]
    metrics = {}
    for name, path in paths.items():
        split = tensors.load(path, on)
        tensors.check_fit(split, settings.model, path)
        logits = evaluation.logits(classifier, split)
        metrics[name] = evaluation.report(logits, split)
        print(
            f"{name:6}loss {metrics[name]['loss']:.4f}"
            f"  accuracy {metrics[name]['accuracy']:.4f}"
        )
    files.write_json(Path("metrics/evaluate.json"), metrics)

    # the last split is the test split
    predictions = pd.DataFrame(evaluation.predictions(logits, split))
    files.write_csv(Path("data/predictions.csv"), predictions)
    confusion = predictions[["label", "prediction"]]
    confusion.columns = ["actual", "predicted"]
    files.write_csv(Path("plots/confusion.csv"), confusion)


if __name__ == "__main__":
    errors.run(main)
