"""The classifier: an LSTM over the rows of an image, and a linear layer on its last step.

It knows nothing of training. Sizes and names are those of the notebook it follows.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from mnist_lstm import tensorfile
from mnist_lstm.errors import UserError
from mnist_lstm.params import ModelParams


class ModelError(UserError):
    """A model file of other sizes or another form; names the file and what it holds."""


class LSTMClassifier(nn.Module):
    """K layers of an LSTM with D hidden units read L steps of Q values each."""

    def __init__(
        self, xdim: int, hdim: int, ydim: int, n_layer: int, precision: str = "fp32"
    ):
        """Draw float32 weights, to be computed with in ``precision``: fp32 or bf16."""
        super().__init__()
        self.precision = precision
        self.sizes = {"xdim": xdim, "hdim": hdim, "ydim": ydim, "n_layer": n_layer}
        self.rnn = nn.LSTM(xdim, hdim, n_layer, batch_first=True)
        self.lin = nn.Linear(hdim, ydim)

    def forward(self, x: Tensor) -> Tensor:
        """Classify sequences of any length by the last step's output.

        Args:
            x: [N x L x Q].

        Returns:
            Logits [N x ydim].
        """
        bf16 = self.precision == "bf16"
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            rnn_out, _ = self.rnn(x)  # [N x L x D]; the states start at zero
            return self.lin(rnn_out[:, -1]).float()

    def read(self, x: Tensor) -> Tensor:
        """Return the logits after each step, in fp32: [N x L x Q] => [N x L x ydim]."""
        rnn_out, _ = self.rnn(x)
        return self.lin(rnn_out)


def count_by_layer(model: LSTMClassifier) -> dict[str, int]:
    """Return how many parameters ``model`` has: in all, in each LSTM layer, in ``lin``."""
    counts = {"parameters": 0}
    for name, values in model.named_parameters():
        module, tensor = name.split(".")
        layer = f"{module}_{tensor.rpartition('_')[2]}" if module == "rnn" else module
        counts[layer] = counts.get(layer, 0) + values.numel()
        counts["parameters"] += values.numel()
    return counts


def parameter_table(model: nn.Module) -> list[dict]:
    """Return each parameter's name, shape, number of values and first five values."""
    return [
        {
            "name": name,
            "shape": "x".join(map(str, values.shape)),
            "count": values.numel(),
            "first_values": " ".join(f"{v:.3f}" for v in values.flatten()[:5].tolist()),
        }
        for name, values in model.named_parameters()
    ]


def save(model: LSTMClassifier, path: Path) -> None:
    """Write the weights to ``path``, with the model's sizes."""
    tensorfile.save(path, model.state_dict(), {"model": model.sizes})


def load(
    path: Path,
    params: ModelParams,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
) -> LSTMClassifier:
    """Read a model of the sizes in ``params`` from ``path`` onto ``device``, to evaluate.

    Raises:
        TensorFileError: no such file, or damaged.
        ModelError: other sizes, or weights that don't fit their sizes.
    """
    weights, about = tensorfile.load(path, writer="train")
    sizes = about.get("model")
    if sizes != params.model_dump():
        raise ModelError(
            f"{path}: holds a model of {sizes}, params.yaml asks for "
            f"{params.model_dump()}; `dvc repro` trains it"
        )
    model = LSTMClassifier(**sizes, precision=precision)
    expected, found = _forms(model.state_dict()), _forms(weights)
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise ModelError(
                f"{path}: {name} is {found.get(name, 'missing')}, "
                f"expected {expected.get(name, 'no such tensor')}"
            )
    model.load_state_dict(weights)
    return model.to(device).eval()


def _forms(tensors: dict[str, Tensor]) -> dict[str, str]:
    return {name: f"{v.dtype} {list(v.shape)}" for name, v in tensors.items()}
