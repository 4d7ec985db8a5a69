"""The classifier: an LSTM over the rows of an image, and a linear layer on its last step.

It knows nothing of training. Sizes and names are those of the notebook it follows.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from mnist_lstm.models.base import Model, draw_as_keras, last_step
from mnist_lstm.plumbing.params import ModelParams


class LSTMClassifier(Model):
    """K layers of an LSTM with D hidden units read L steps of Q values each.

    In fp32 it can be cast, scripted, traced, exported and quantized as any module.
    Scripted, it computes in fp32 and drops nothing.
    """

    called = "an LSTM"
    is_lstm = True

    def __init__(self, params: ModelParams, precision: str = "fp32"):
        """Draw the weights, by PyTorch's defaults or Keras's (``params.init``).

        While it trains, values between two layers are left out by ``params.dropout``.
        """
        super().__init__(params, precision)
        self.rnn = nn.LSTM(params.xdim, params.hdim, params.n_layer, batch_first=True)
        self.lin = nn.Linear(params.hdim, params.ydim)
        if params.init == "keras":
            draw_as_keras(self)
            _open_forget_gates(self.rnn)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Classify sequences: [N x L x Q], int64 [N] => [N x ydim], of x's type."""
        if torch.jit.is_scripting():  # TorchScript knows no autocast as below
            return self.lin(last_step(self.rnn(x)[0], lengths))
        bf16 = self.precision == "bf16"
        # On CUDA the layers cast themselves: autocast would compute an LSTM in float16.
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16 and not x.is_cuda):
            # [N x L x D]; the states start at zero
            rnn_out = self._run_layers(x)
            return self.lin(last_step(rnn_out, lengths).to(x.dtype)).to(x.dtype)

    def _run_layers(self, x: Tensor) -> Tensor:
        """Run the LSTM: [N x L x Q] => [N x L x D].

        With dropout layer by layer: ``nn.LSTM`` can drop values between its layers, but on
        CUDA from a generator that no checkpoint can hold.
        """
        if self.training and self.params.dropout:
            for layer, weights in enumerate(self.rnn.all_weights):
                if layer:
                    x = dropout(x, self.params.dropout)
                x = self._run_lstm(x, [weights])
            return x
        if self.precision == "bf16" and x.is_cuda:
            return self._run_lstm(x, self.rnn.all_weights)
        return self.rnn(x)[0]

    def _run_lstm(self, x: Tensor, layers: Sequence[Sequence[Tensor]]) -> Tensor:
        """Run the LSTM of these ``layers``: [N x L x Q] => [N x L x D], on CUDA in bf16."""
        weights = [values for layer in layers for values in layer]
        if x.is_cuda:
            x = x.to(torch.bfloat16 if self.precision == "bf16" else torch.float32)
            weights = _pack(layers, x.dtype)
        zeros = x.new_zeros(len(layers), len(x), self.rnn.hidden_size)
        # biases, layers, no dropout in it, mode, one direction, batch first
        options = True, len(layers), 0.0, self.training, False, True
        return torch.lstm(x, (zeros, zeros), weights, *options)[0]

    def read(self, x: Tensor) -> Tensor:
        """Return the logits after each step, in fp32: [N x L x Q] => [N x L x ydim]."""
        rnn_out, _ = self.rnn(x)
        return self.lin(rnn_out)

    def matrices(self) -> list[nn.Parameter]:
        """Return the matrices of the LSTM, for Muon."""
        return [p for name, p in self.rnn.named_parameters() if "weight" in name]


def _pack(layers: Sequence[Sequence[Tensor]], dtype: torch.dtype) -> list[Tensor]:
    """Return the weights of LSTM layers in ``dtype``, as views of one buffer.

    All matrices, then all biases, is how cuDNN lays them out; it copies others there in
    each step, and warns of it.
    Source: https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/cudnn/RNN.cpp
    """
    matrices = [values for w_ih, w_hh, _, _ in layers for values in (w_ih, w_hh)]
    biases = [values for _, _, b_ih, b_hh in layers for values in (b_ih, b_hh)]
    parts = matrices + biases
    buffer = torch.cat([values.flatten() for values in parts]).to(dtype)
    views = buffer.split([values.numel() for values in parts])
    shaped = [view.view_as(values) for view, values in zip(views, parts, strict=True)]
    m, b = shaped[: len(matrices)], shaped[len(matrices) :]
    return [v for k in range(0, len(m), 2) for v in (*m[k : k + 2], *b[k : k + 2])]


@torch.no_grad()
def _open_forget_gates(rnn: nn.LSTM) -> None:
    for name, values in rnn.named_parameters():
        if "bias_ih" in name:  # gates: input, forget, cell, output
            values.chunk(4)[1].fill_(1)
