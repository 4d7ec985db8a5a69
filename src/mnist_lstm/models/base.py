"""What a model is to all else. A file of this folder defines one."""

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import ModelParams


class Reads(NamedTuple):
    """What a trained model was made for; its weights do not tell."""

    classes: tuple[str, ...]  # the name of what each logit stands for
    picture: str  # how a picture becomes an image, as prepare.picture says
    length: int  # L, the rows of an image, the steps of the longest train sequence
    greys: Mapping[str, Sequence[float]] = {}  # of the train images, see data/picture.py
    scaling: Mapping[str, Any] = {}  # of sequences, see data/preparation.py; else empty


class Model(nn.Module):
    """A classifier of sequences. ``forward`` must be defined; the rest has defaults.

    Its parameters are float32, whatever it computes in. What it draws at random while it
    trains comes from PyTorch's generator, which a checkpoint holds.
    """

    called = "a model"  # in sentences
    # Is it an nn.LSTM and a linear layer on its last step, and no more? Then what explains
    # and exports LSTMs may look inside.
    is_lstm = False
    if TYPE_CHECKING:  # for TorchScript would take them for its own
        rnn: Any
        lin: Any

    def __init__(self, params: ModelParams, precision: str = "fp32"):
        """Take the sizes from ``params``, to compute in ``precision``: fp32 or bf16."""
        super().__init__()
        self.params = params
        self.precision = precision
        self.reads = Reads((), "", 0)
        self.kept: int | None = None  # the epoch of its weights, if they are not the last

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Classify sequences of any length.

        Args:
            x: float32 [N x L x Q].
            lengths: int64 [N], the real steps of each; what stands behind them is padding
                and must not count. None: all L steps are real.

        Returns:
            Logits, float32 [N x ydim].
        """
        raise NotImplementedError

    def read(self, x: Tensor) -> Tensor:
        """Return the logits after each step: [N x L x Q] => [N x L x ydim]."""
        return torch.stack([self(x[:, : t + 1]) for t in range(x.shape[1])], dim=1)

    def matrices(self) -> list[nn.Parameter]:
        """Return what Muon moves: the matrices, but for the last, which makes logits."""
        return [values for values in self.parameters() if values.ndim == 2][:-1]


def last_step(out: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the output at each sequence's last real step: [N x L x D] => [N x D]."""
    if lengths is None:
        return out[:, -1]
    place = (lengths - 1).view(-1, 1, 1).expand(-1, 1, out.shape[2])
    return out.gather(1, place).squeeze(1)


def make_model(params: ModelParams, precision: str = "fp32") -> Model:
    """Return a new model of the class in the file ``params.name`` of this folder.

    Raises:
        UserError: there is no such class in it, or several.
    """
    module = importlib.import_module(f"mnist_lstm.models.{params.name}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Model)
        and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = ", ".join(value.__name__ for value in found) or "none"
        file = f"src/mnist_lstm/models/{params.name}.py"
        raise UserError(f"{file}: expected one subclass of Model, found {names}")
    return found[0](params, precision)


@torch.no_grad()
def draw_as_keras(model: Model) -> None:
    """Draw a recurrent model anew: Glorot's weights, orthogonal for states, biases zero.

    PyTorch draws all by the hidden size, and so small that a row of 28 values hardly moves
    256 units: it learns late.
    Source: https://keras.io/api/layers/recurrent_layers/
    """
    for name, values in model.named_parameters():
        if "weight_hh" in name:
            nn.init.orthogonal_(values)
        elif "weight" in name:
            nn.init.xavier_uniform_(values)
        else:
            values.zero_()
