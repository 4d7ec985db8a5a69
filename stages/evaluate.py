"""Judge the trained model on every split.

Reads ``models/model.safetensors`` and ``data/prepared/``. Writes
``metrics/evaluate.json``, and of the test split ``plots/confusion.csv`` and
``data/predictions.csv``. Alone: ``python stages/evaluate.py``.
"""

from pathlib import Path

import pandas as pd

from mnist_lstm import device, errors, evaluation, files, model, params, tensors

PREPARED = Path("data/prepared")


def main() -> None:
    """Run the stage."""
    settings = params.load()
    device.make_deterministic(seed=0)  # nothing is drawn; the algorithms matter
    on = device.select(settings.train.device)
    classifier = model.load(Path("models/model.safetensors"), on)
    paths = {name: PREPARED / f"{name}.safetensors" for name in ("train", "valid", "test")}
    if not paths["valid"].exists():
        del paths["valid"]
    metrics = {}
    for name, path in paths.items():
        split = tensors.load(path, on)
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
