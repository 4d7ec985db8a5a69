"""A classifier with gated recurrent units: fewer gates than an LSTM, and no cell state.

Source: https://arxiv.org/abs/1406.1078
"""

import itertools

from torch import Tensor, nn
from torch.nn.functional import dropout

from mnist_lstm.models.base import Model, draw_as_keras, last_step
from mnist_lstm.plumbing.params import ModelParams


class GRUClassifier(Model):
    """K layers of GRUs with D hidden units, and a linear layer on the last step's output.

    It computes in float32, whatever the precision: in bfloat16, PyTorch has no fast kernel
    for it on a CPU, and autocast would take float16 on CUDA.
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
            x, _ = gru(x)
        return x
