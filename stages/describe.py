"""Show how the LSTM works on random sequences, what its parameters are, and why so many.

Reads no data. Writes ``metrics/model.json`` (how many parameters) and
``plots/parameters.csv`` (each tensor before training). Alone:
``python stages/describe.py``.
"""

from mnist_lstm.plumbing import script

script.begin()  # before the imports below, which take seconds

from pathlib import Path

import pandas as pd
import torch

from mnist_lstm.device import make_deterministic
from mnist_lstm.models.base import Model, make_model
from mnist_lstm.models.explanation import explain, formulas, shapes
from mnist_lstm.plumbing.params import load_params
from mnist_lstm.tables import write_csv, write_json


def main() -> None:
    """Print shapes and parameters, and write the latter."""
    params = load_params()
    make_deterministic(params.train.seed)
    model = make_model(params.model).eval()

    x = torch.rand(2, 20, params.model.xdim)
    for name, shape in shapes(model, x).items():
        print(f"{name:8}{shape}")

    table = parameter_table(model)
    width = max(map(len, table.name))
    for row in table.itertuples():
        print(f"{row.name:{width}} {row.shape:>8} {row.count:>8,}  {row.first_values}")
    products = formulas(model)
    for layer, count in table.groupby("layer", sort=False)["count"].sum().items():
        product = f"  = {products[layer]}" if layer in products else ""
        print(f"{layer:{width}} {'':8} {count:>8,}{product}")
    total = int(table["count"].sum())
    print(f"{total:,} parameters\n")
    for line in explain(model, length=x.shape[1]):
        print(line)
    write_json(Path("metrics/model.json"), {"parameters": total})
    write_csv(Path("plots/parameters.csv"), table)


def parameter_table(model: Model) -> pd.DataFrame:
    """Return each parameter's layer, name, shape, number of values and first five values.

    The layers are those of the LSTM (``rnn_l0``, ...) and ``lin``.
    """
    rows = []
    for name, values in model.named_parameters():
        module, _, tensor = name.rpartition(".")
        rows.append(
            {
                "layer": f"rnn_{tensor.rpartition('_')[2]}" if module == "rnn" else module,
                "name": name,
                "shape": "x".join(map(str, values.shape)),
                "count": values.numel(),
                "first_values": " ".join(f"{v:.3f}" for v in values.flatten()[:5].tolist()),
            }
        )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    script.run(main, lower=("model.hdim", "model.n_layer"))
