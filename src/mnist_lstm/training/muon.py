"""Muon: the LSTM's matrices move by their orthogonalised momentum, all else by AdamW.

Source: K. Jordan et al., https://kellerjordan.github.io/posts/muon/
"""

import math

import torch
from torch import Tensor

from mnist_lstm.models.base import Model
from mnist_lstm.plumbing.params import TrainParams
from mnist_lstm.training.optimizer import AdamW

# Newton-Schulz iterations (a, b, c): a singular value s becomes a s + b s^3 + c s^5.
Coefficients = tuple[tuple[float, float, float], ...]
# Each of these four comes as near to 1 as such a polynomial can, for all values from the
# least to the greatest that the one before makes of 0.003 to 1, and 5% beyond: rounding.
# Source: N. Amsel et al., https://arxiv.org/abs/2505.16932
_FIRST: Coefficients = ((8.3837, -24.7659, 18.3571), (3.8733, -2.6219, 0.4500))
_SECOND: Coefficients = ((3.4561, -2.3672, 0.4280), (2.6123, -1.8139, 0.3840))


def make_optimizer(model: Model, params: TrainParams) -> "AdamW | Muon":
    """Return the optimizer that ``train.optimizer`` names."""
    if params.optimizer == "muon":
        return Muon(model, params)
    return AdamW(model.parameters(), params)


class Muon:
    """Muon for the LSTM's weight matrices, AdamW for its biases and the last layer.

    The step is that of ``torch.optim.Muon``, which imports the compiler, and takes matrices
    one by one. Here those of one shape are one batch.
    """

    def __init__(self, model: Model, params: TrainParams):
        """Begin with a momentum of zero; ``params`` says rates and decay."""
        self.params = params
        matrices = model.matrices()
        chosen = set(map(id, matrices))
        self.adamw = AdamW([p for p in model.parameters() if id(p) not in chosen], params)
        self.precision = model.precision
        # A graph reads it where it lies on the device.
        self._lr = torch.tensor(params.muon_lr, device=next(model.parameters()).device)
        shapes = dict.fromkeys(p.shape for p in matrices)
        self.groups: list[list[Tensor]] = [
            [p for p in matrices if p.shape == shape] for shape in shapes
        ]
        momentum = [torch.zeros_like(torch.stack(group)) for group in self.groups]
        self.state = self.adamw.state | {"momentum": momentum}

    def set_lr(self, lr: float) -> None:
        """Take ``lr`` as AdamW's learning rate from now on; Muon's moves in proportion."""
        self.adamw.set_lr(lr)
        self._lr.fill_(lr / self.params.lr * self.params.muon_lr)

    @torch.no_grad()
    def step(self) -> None:
        """Move the weights by their gradients."""
        self.adamw.step()
        beta, keep = self.params.momentum, 1 - self._lr * self.params.weight_decay
        for group, momentum in zip(self.groups, self.state["momentum"], strict=True):
            gradient = torch.stack([p.grad for p in group if p.grad is not None])
            momentum.lerp_(gradient, 1 - beta)
            ahead = gradient.lerp_(momentum, beta)  # as Nesterov looks a step ahead
            # bfloat16 is precise enough, and faster on more than 128 columns and rows
            wide = min(ahead.shape[1:]) > 128
            bf16 = wide and self.precision == "bf16"
            dtype = torch.bfloat16 if bf16 else torch.float32
            # tall matrices move further, so that outputs change as much
            scale = math.sqrt(max(1, ahead.shape[1] / ahead.shape[2]))
            update = self._lr * scale * orthogonalize(ahead, dtype)
            for p, moved in zip(group, update, strict=True):
                p.mul_(keep).sub_(moved)


def orthogonalize(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the matrices ``x`` [n x R x C] with their singular values moved to about 1.

    That is to between 0.68 and 1.35, by Newton-Schulz iterations in ``dtype``. One below
    1/300 of the root of the Gram matrix's norm, a bound of the greatest, stays smaller.

    An iteration multiplies ``y`` by a polynomial of its Gram matrix ``y.mT @ y``, which is
    the smaller the taller ``y`` is; so two run on that matrix alone. Rounding errors grow
    from one to the next: ``_SECOND`` begins with ``y`` and its Gram matrix made anew.
    """
    tall = x.shape[1] >= x.shape[2]
    y = (x if tall else x.mT).to(dtype)
    gram = y.mT @ y
    # No singular value of y is above its root. It is rounded, too.
    bound = 1.02 * gram.norm(dim=(1, 2), keepdim=True) + 1e-14
    y = y @ (_multiplier(gram / bound, _FIRST) / bound.sqrt())
    y = y @ _multiplier(y.mT @ y, _SECOND)
    return (y if tall else y.mT).to(x.dtype)


def _multiplier(gram: Tensor, iterations: Coefficients) -> Tensor:
    """Return the product [n x C x C] of the polynomials of ``iterations``."""
    product = polynomial = _polynomial(gram, *iterations[0])
    for iteration in iterations[1:]:
        gram = polynomial @ gram @ polynomial  # they commute: all are polynomials of one
        polynomial = _polynomial(gram, *iteration)
        product = product @ polynomial
    return product


def _polynomial(gram: Tensor, a: float, b: float, c: float) -> Tensor:
    """Return a + b G + c G^2 of matrices G [n x C x C]."""
    result = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    result.diagonal(dim1=1, dim2=2).add_(a)
    return result
