"""A classifier with gated recurrent units: fewer gates than an LSTM, and no cell state.

Source: https://arxiv.org/abs/1406.1078
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear

from mnist_lstm.models.base import Model, draw_as_keras, last_step
from mnist_lstm.plumbing.params import ModelParams


class GRUClassifier(Model):
    """K layers of GRUs with D hidden units, and a linear layer on the last step's output.

    On CUDA it computes in float32, whatever the precision: autocast would take float16.
    """

    called = "a GRU"

    def __init__(self, params: ModelParams, precision: str = "fp32"):
        """Draw the weights, by PyTorch's defaults or Keras's (``params.init``)."""
        super().__init__(params, precision)
        sizes = [params.xdim, *[params.hdim] * params.n_layer]
        # One layer each: nn.GRU's own dropout draws, on CUDA, from a generator that no
        # checkpoint can hold.
        self.rnn = nn.ModuleList(
            nn.GRU(q, d, batch_first=True) for q, d in itertools.pairwise(sizes)
        )
        self.lin = nn.Linear(params.hdim, params.ydim)
        if params.init == "keras":
            draw_as_keras(self)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Classify sequences: [N x L x Q], int64 [N] => [N x ydim]."""
        return self.lin(last_step(self._run(x), lengths))

    def read(self, x: Tensor) -> Tensor:
        """Return the logits after each step: [N x L x Q] => [N x L x ydim]."""
        return self.lin(self._run(x))

    def _run(self, x: Tensor) -> Tensor:
        for layer, gru in enumerate(self.rnn):
            if layer:
                x = dropout(x, self.params.dropout, self.training)
            bf16 = self.precision == "bf16" and not x.is_cuda
            x = run_in_bf16(gru, x) if bf16 else gru(x)[0]
        return x


def run_in_bf16(gru: nn.GRU, x: Tensor) -> Tensor:
    """Run a layer on a CPU, products and gates in bfloat16: [N x L x Q] => [N x L x D].

    For PyTorch has no fast kernel of a GRU for that. The state is float32: in a unit that
    hardly changes it, bfloat16 would round each change away.
    """
    w_ih, w_hh, b_ih, b_hh = (values.bfloat16() for values in gru.all_weights[0])
    d = gru.hidden_size
    h = x.new_zeros(len(x), d)
    states = []
    for given in linear(x.transpose(0, 1).bfloat16(), w_ih, b_ih):  # each [N x 3 D]
        own = linear(h.bfloat16(), w_hh, b_hh)
        r, z = (given[:, : 2 * d] + own[:, : 2 * d]).sigmoid().chunk(2, 1)
        n = torch.addcmul(given[:, 2 * d :], r, own[:, 2 * d :]).tanh()
        h = n.float().lerp(h, z.float())
        states.append(h)
    return torch.stack(states, 1)
