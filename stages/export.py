"""Hand the model on: as a page to watch it read, as ONNX, with a model card.

Reads the model, ``data/prepared/`` and what ``evaluate`` wrote; writes
``models/page.html`` from ``page/``, ``models/model.onnx`` and ``models/README.md``.
Alone: ``python stages/export.py``.
"""

from mnist_lstm.plumbing import script

script.begin()  # before the imports below, which take seconds

import json
from pathlib import Path

import pandas as pd
import torch

from mnist_lstm.data.splits import Split, load_split, split_paths, to_input
from mnist_lstm.export import page
from mnist_lstm.export.card import model_card
from mnist_lstm.export.onnx_file import save_onnx
from mnist_lstm.models.base import Model
from mnist_lstm.models.store import load_model
from mnist_lstm.plumbing.files import write_bytes
from mnist_lstm.plumbing.params import load_params
from mnist_lstm.tables import read_predictions

MODELS = Path("models")
PAGE = Path("page")
N_EXAMPLE = 10
N_MISTAKE = 10
N_CHECKED = 1000  # images on which float16 is compared with float32


def main() -> None:
    """Run the stage."""
    params = load_params()
    splits = {
        name: load_split(path, params.model)
        for name, path in split_paths(Path("data/prepared")).items()
    }
    test = splits["test"]
    table = read_predictions(Path("data/predictions.csv"), test.names(test.labels))
    model = load_model(MODELS / "model.safetensors", params.model)
    metrics = json.loads(Path("metrics/evaluate.json").read_text())
    data = page_data(model, splits["train"], test, table, metrics["test"]["accuracy"])
    write_bytes(MODELS / "page.html", page.assemble(PAGE, data))
    save_onnx(model, MODELS / "model.onnx")
    settings = params.data.name, params.train, params.augment
    card = model_card(*settings, model, splits, metrics, table)
    write_bytes(MODELS / "README.md", card.encode())


def page_data(
    model: Model, train: Split, test: Split, table: pd.DataFrame, accuracy: float
) -> dict:
    """Return all that the page knows: the model, its accuracy, and examples to click."""
    numbers = {name: number for number, name in enumerate(test.classes)}
    table = table.assign(
        actual=table.actual.map(numbers), predicted=table.predicted.map(numbers)
    )
    right = table[table.actual == table.predicted]
    wrong = table[table.actual != table.predicted]
    one_of_each = right.groupby("actual").head(1).sort_values("actual")[:N_EXAMPLE]
    confident = wrong.sort_values("probability", ascending=False, kind="stable")[:N_MISTAKE]
    _, height, width = test.x.shape
    # The page computes it; nobody draws a sequence.
    live = (PAGE / f"{model.params.name}.js").exists() and test.is_images
    sizes = model.params.model_dump(include={"name", "hdim", "n_layer", "xdim", "ydim"})
    data = {
        "accuracy": accuracy,
        "called": model.called,
        "classes": test.classes,
        "dark": test.is_images and page.is_dark(train.x),
        "examples": examples(model, test, one_of_each, live),
        "height": height,
        "mistakes": examples(model, test, confident, live),
        "model": sizes,
        "n_test": len(test),
        "n_wrong": len(wrong),
        "picture": test.picture,
        "parameters": sum(values.numel() for values in model.parameters()),
        "width": width,
    }
    if not test.is_images:
        data["sequences"] = {"features": test.scaling.get("features")}
    if live:
        data["weights"] = page.encode_weights(model, to_input(test.x[:N_CHECKED]))
    return data


def examples(model: Model, test: Split, rows: pd.DataFrame, live: bool) -> list[dict]:
    """Return the examples of ``rows``, with what they are and what they are taken for.

    Where the page is not ``live``, they bring the probabilities after each row along; of a
    sequence, after some steps.
    """
    found = []
    for row in rows.itertuples():
        x = test.x[row.Index, : test.steps()[row.Index]]
        example: dict = {"actual": int(row.actual), "predicted": int(row.predicted)}
        shown = torch.arange(len(x))
        if not test.is_images:
            shown = page.some_steps(len(x), len(test.classes))
            example["at"] = (shown + 1).tolist()
        example["pixels"] = page.encode_image(page.to_greys(x[shown]))
        if not live:
            with torch.inference_mode():
                p = model.read(to_input(x[None]))[0, shown].softmax(1)
            example["beliefs"] = p.double().round(decimals=4).tolist()
        found.append(example)
    return found


if __name__ == "__main__":
    script.run(main, lower=("model.hdim", "model.n_layer"))
