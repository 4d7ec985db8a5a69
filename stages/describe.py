"""Show how the LSTM works on random sequences, and what its parameters are.

Reads no data. Writes ``metrics/model.json`` (how many parameters, by layer) and
``plots/parameters.csv`` (each tensor before training). Alone:
``python stages/describe.py``.
"""

from mnist_lstm import errors, signals

signals.end_in_one_line()  # from here on: PyTorch takes seconds to import

from pathlib import Path

import pandas as pd
import torch

from mnist_lstm import device, files, params
from mnist_lstm.model import LSTMClassifier, count_by_layer, parameter_table


def main() -> None:
    """Run the stage."""
    settings = params.load()
    with device.enough_memory("lower model.hdim or model.n_layer in params.yaml"):
        describe(settings)


def describe(settings: params.Params) -> None:
    """Print shapes and parameters, and write the latter."""
    device.make_deterministic(settings.train.seed)
    model = LSTMClassifier(**settings.model.model_dump())

    x = torch.rand(2, 20, settings.model.xdim)
    rnn_out, (hn, cn) = model.rnn(x)
    for name, value in {"x": x, "rnn_out": rnn_out, "hn": hn, "cn": cn}.items():
        print(f"{name:8}{list(value.shape)}")

    table = parameter_table(model)
    for row in table:
        print("{name:17} {shape:>8} {count:>8,}  {first_values}".format(**row))
    counts = count_by_layer(model)
    print(f"{counts['parameters']:,} parameters")
    files.write_json(Path("metrics/model.json"), counts)
    files.write_csv(Path("plots/parameters.csv"), pd.DataFrame(table))


if __name__ == "__main__":
    errors.run(main)
