"""Judge the trained model on every split.

Reads ``models/model.safetensors`` and ``data/prepared/``. Writes
``metrics/evaluate.json``, and of the test split ``plots/confusion.csv`` and
``data/predictions.csv``. Alone: ``python stages/evaluate.py``.
"""

from pathlib import Path

import pandas as pd

from mnist_lstm import device, errors, evaluation, files, model, params, tensors


def main() -> None:
    """Run the stage."""
    settings = params.load()
    device.make_deterministic(seed=0)  # nothing is drawn; the algorithms matter
    on = device.select(settings.train.device)
    classifier = model.load(Path("models/model.safetensors"), on)
    metrics = {}
    for name in ("train", "valid", "test"):
        path = Path(f"data/prepared/{name}.safetensors")
        if name == "valid" and not path.exists():
            continue
        split = tensors.load(path, on)
        logits = evaluation.logits(classifier, split)
        metrics[name] = evaluation.report(logits, split)
        print(
            f"{name:6}loss {metrics[name]['loss']:.4f}"
            f"  accuracy {metrics[name]['accuracy']:.4f}"
        )
    files.write_json(Path("metrics/evaluate.json"), metrics)

    predictions = pd.DataFrame(evaluation.predictions(logits, split))  # of test
    files.write_csv(Path("data/predictions.csv"), predictions)
    confusion = predictions[["label", "prediction"]]
    confusion.columns = ["actual", "predicted"]
    files.write_csv(Path("plots/confusion.csv"), confusion)


if __name__ == "__main__":
    errors.run(main)
