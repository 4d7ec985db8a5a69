"""The steps of an LSTM by hand: what its gates do, which ``nn.LSTM`` does not tell."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mnist_lstm.models.base import Model

# In PyTorch's weights; the candidate is called g there, cell or c by Keras.
ORDER = ("input", "forget", "candidate", "output")


class Gates(NamedTuple):
    """What one layer computes after each step, each [N x L x D]."""

    input: Tensor  # in (0, 1): how much of the candidate enters the cell
    forget: Tensor  # in (0, 1): how much of the cell stays
    candidate: Tensor  # in (-1, 1): what could enter
    output: Tensor  # in (0, 1): how much of the cell is shown
    cell: Tensor  # the long memory
    hidden: Tensor  # in (-1, 1): what the next step, the next layer, the classifier read


def gates_of(model: Model, x: Tensor) -> Gates | None:
    """Return the gates of the last layer as ``model`` reads ``x``; None without an LSTM."""
    return compute_gates(model.rnn, x)[-1] if model.is_lstm else None


@torch.no_grad()
def compute_gates(rnn: nn.LSTM, x: Tensor, order: Sequence[str] = ORDER) -> list[Gates]:
    """Return the gates of each layer of ``rnn`` as it reads ``x`` [N x L x Q].

    The weights are four blocks, one a gate, taken to be in this ``order``. All states start
    at zero.
    Source: https://pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    """
    layers = []
    for w_ih, w_hh, b_ih, b_hh in rnn.all_weights:
        h = c = x.new_zeros(len(x), rnn.hidden_size)
        steps = []
        for x_t in x.unbind(1):  # [N x Q]
            blocks = (x_t @ w_ih.T + b_ih + h @ w_hh.T + b_hh).chunk(4, dim=1)
            block = dict(zip(order, blocks, strict=True))
            i, f, o = (block[name].sigmoid() for name in ("input", "forget", "output"))
            g = block["candidate"].tanh()
            c = f * c + i * g
            h = o * c.tanh()
            steps.append((i, f, g, o, c, h))
        by_step = zip(*steps, strict=True)
        layers.append(Gates(*(torch.stack(values, dim=1) for values in by_step)))
        x = layers[-1].hidden
    return layers
