"""A small causal Transformer: each step attends to itself and to the steps before it.

Sources: https://arxiv.org/abs/1706.03762, and https://arxiv.org/abs/2002.04745 for layer
normalisation before each part.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, gelu, scaled_dot_product_attention

from mnist_lstm.models.base import Model, last_step
from mnist_lstm.plumbing.errors import ParamsError
from mnist_lstm.plumbing.params import ModelParams


class TransformerClassifier(Model):
    """K blocks of width D with ``n_head`` heads, and a linear layer on the last step."""

    called = "a Transformer"

    def __init__(self, params: ModelParams, precision: str = "fp32"):
        """Draw the weights; ``params.init`` keras draws all matrices by Glorot's rule."""
        super().__init__(params, precision)
        if params.hdim % params.n_head or params.hdim % 2:
            fits = f"an even multiple of model.n_head ({params.n_head})"
            raise ParamsError.of("model.hdim", fits, params.hdim)
        self.embed = nn.Linear(params.xdim, params.hdim)
        self.blocks = nn.ModuleList(_Block(params) for _ in range(params.n_layer))
        self.norm = nn.LayerNorm(params.hdim)
        self.lin = nn.Linear(params.hdim, params.ydim)
        if params.init == "keras":
            for values in self.parameters():
                if values.ndim == 2:
                    nn.init.xavier_uniform_(values)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Classify sequences of any length: [N x L x Q], int64 [N] => [N x ydim]."""
        return last_step(self.read(x), lengths)

    def read(self, x: Tensor) -> Tensor:
        """Return the logits after each step: [N x L x Q] => [N x L x ydim]."""
        bf16 = self.precision == "bf16"
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            h = self.embed(x)
            h = h + positions(h)
            for block in self.blocks:
                h = block(h)
            return self.lin(self.norm(h)).float()


class _Block(nn.Module):
    """Attention to earlier steps, then two linear layers on each step by itself."""

    def __init__(self, params: ModelParams):
        super().__init__()
        d = params.hdim
        self.n_head, self.p = params.n_head, params.dropout
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, h: Tensor) -> Tensor:
        """[N x L x D] => [N x L x D]."""
        n, length, d = h.shape
        heads = self.qkv(self.norm1(h)).view(n, length, 3, self.n_head, d // self.n_head)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each [N x heads x L x D / heads]
        mixed = scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed = self.out(mixed.transpose(1, 2).reshape(n, length, d))
        h = h + dropout(mixed, self.p, self.training)
        wide = self.down(gelu(self.up(self.norm2(h))))
        return h + dropout(wide, self.p, self.training)


def positions(h: Tensor) -> Tensor:
    """Return sines and cosines of each step's number: [N x L x D] => [L x D]."""
    _, length, d = h.shape
    step = torch.arange(length, device=h.device, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, d, 2, device=h.device) * (-math.log(10_000) / d))
    return torch.stack([(step * rate).sin(), (step * rate).cos()], dim=2).view(length, d)
