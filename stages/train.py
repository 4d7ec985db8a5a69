"""Train the LSTM.

Reads ``data/prepared/``, writes ``models/model.safetensors``, ``metrics/train.json`` (the
last epoch) and ``plots/history.csv`` (a row an epoch, as they end). The held-out split that
it watches is ``valid`` where there is one, else ``test``. Its checkpoints lie in
``checkpoints/`` until the results are written.
Alone: ``python stages/train.py``.
"""

from mnist_lstm import errors, signals

signals.end_in_one_line()  # from here on: PyTorch takes seconds to import

from pathlib import Path

import pandas as pd

from mnist_lstm import checkpoint, device, files, model, params, tensors, training

PREPARED = Path("data/prepared")


def main() -> None:
    """Run the stage."""
    settings = params.load()
    advice = (
        f"train.batch_size is {settings.train.batch_size}, model.hdim is "
        f"{settings.model.hdim}, model.n_layer is {settings.model.n_layer}; lower one of "
        "them in params.yaml"
    )
    with device.enough_memory(advice):
        train(settings)


def train(settings: params.Params) -> None:
    """Train from the start, or from where an earlier run of the same ended."""
    determinism = device.make_deterministic(settings.train.seed)
    on = device.select(settings.train.device)
    precision = device.precision(settings.train.precision, on)
    machine = device.describe(on, precision)
    print(f"{machine}\n{determinism}", flush=True)

    heldout = "valid" if (PREPARED / "valid.safetensors").exists() else "test"
    paths = [PREPARED / f"{name}.safetensors" for name in ("train", heldout)]
    splits = [tensors.load(path, on) for path in paths]
    for split, path in zip(splits, paths, strict=True):
        tensors.check_fit(split, settings.model, path)

    device.keep_memory()  # from here on: not what loading took
    classifier = model.LSTMClassifier(
        **settings.model.model_dump(), precision=precision
    ).to(on)
    run = training.Run(classifier, settings.train, settings.augment)
    read = {
        "model": settings.model.model_dump(),
        "train": settings.train.model_dump(),
        "augment": settings.augment.model_dump(),
    }
    key = checkpoint.key(read, paths, machine)
    keeper = checkpoint.Keeper(Path("checkpoints"), key, run)
    with files.alone_in(Path("models")), keeper:
        keeper.resume()
        if run.history:
            write_history(run, heldout)
        for row in training.fit(run, *splits, keeper.tick):
            keeper.save()
            write_history(run, heldout)
            print(training.sentence(row, heldout), flush=True)
        model.save(run.averaged, Path("models/model.safetensors"))
        files.write_json(Path("metrics/train.json"), {"heldout": heldout} | run.history[-1])
        keeper.remove()


def write_history(run: training.Run, heldout: str) -> None:
    """Write a row for each epoch so far."""
    rows = [{"heldout": heldout} | row for row in run.history]
    files.write_csv(Path("plots/history.csv"), pd.DataFrame(rows))


if __name__ == "__main__":
    errors.run(main)
