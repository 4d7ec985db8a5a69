"""The classifier: an LSTM over the rows of an image, and a linear layer on its last step.

It knows nothing of training. Sizes and names are those of the notebook it follows.
"""

import json
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from mnist_lstm import files
from mnist_lstm.errors import UserError


class ModelError(UserError):
    """A model file that is missing, damaged or of another form; names the file."""


class LSTMClassifier(nn.Module):
    """K layers of an LSTM with D hidden units read L steps of Q values each."""

    def __init__(self, xdim: int, hdim: int, ydim: int, n_layer: int):
        super().__init__()
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
        rnn_out, _ = self.rnn(x)  # [N x L x D]; the states start at zero
        return self.lin(rnn_out[:, -1])

    def read(self, x: Tensor) -> Tensor:
        """Return the logits after each step: [N x L x Q] => [N x L x ydim]."""
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
    """Write the weights to ``path`` as safetensors, the model's sizes as metadata."""
    # One key: safetensors does not promise an order among several.
    metadata = {"model": json.dumps(model.sizes)}
    tensors = {name: values.cpu() for name, values in model.state_dict().items()}
    files.write_bytes(path, safetensors.torch.save(tensors, metadata))


def load(path: Path, device: torch.device | str = "cpu") -> LSTMClassifier:
    """Read a model from ``path`` onto ``device``, ready to evaluate.

    Raises:
        ModelError: no such file, damaged, or weights that don't fit their own sizes.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            model = LSTMClassifier(**json.loads(file.metadata()["model"]))
            names = file.keys()
            model.load_state_dict({name: file.get_tensor(name) for name in names})
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; the stage `train` writes it") from None
    except (
        safetensors.SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:
        reason = " ".join(str(error).split())  # torch names each misfit on a line
        raise ModelError(f"{path}: not a model of this project: {reason}") from None
    return model.to(device).eval()
