"""Muon: the LSTM's matrices move by their orthogonalised momentum, all else by AdamW.

Source: K. Jordan et al., https://kellerjordan.github.io/posts/muon/
"""

import math

import torch
from torch import Tensor

from mnist_lstm.model import LSTMClassifier
from mnist_lstm.plumbing.params import TrainParams
from mnist_lstm.training.optimizer import AdamW, Optimizer

# Five Newton-Schulz iterations: a singular value s becomes p(p(...p(s))), near to 1, with
# p(s) = a s + b s^3 + c s^5. They come in two runs, see `orthogonalize`.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_RUNS = (3, 2)


def make_optimizer(model: LSTMClassifier, params: TrainParams) -> "AdamW | Muon":
    """Return the optimizer that ``train.optimizer`` names."""
    if params.optimizer == "muon":
        return Muon(model, params)
    return AdamW(model.parameters(), params)


class Muon(Optimizer):
    """Muon for the LSTM's weight matrices, AdamW for its biases and the last layer.

    The step is that of ``torch.optim.Muon``, which imports the compiler, and takes matrices
    one by one. Here those of one shape are one batch.
    """

    def __init__(self, model: LSTMClassifier, params: TrainParams):
        """Begin with a momentum of zero; ``params`` says rates, decay and clipping."""
        self.params = params
        self.parameters = list(model.parameters())
        matrices = [p for name, p in model.rnn.named_parameters() if "weight" in name]
        chosen = set(map(id, matrices))
        rest = [p for p in self.parameters if id(p) not in chosen]
        # here, all gradients are clipped as one
        self.adamw = AdamW(rest, params.model_copy(update={"clip": 0.0}))
        self.cuda = self.adamw.cuda
        # bfloat16 is precise enough here, and faster where the model computes in it, too.
        self.dtype = torch.bfloat16 if model.precision == "bf16" else torch.float32
        # A graph reads it where it lies on the device.
        self._lr = torch.tensor(params.muon_lr, device=self.parameters[0].device)
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
        """Move the weights by their gradients, which are first clipped in place."""
        self.clip()
        self.adamw.step()
        beta, keep = self.params.momentum, 1 - self._lr * self.params.weight_decay
        for group, momentum in zip(self.groups, self.state["momentum"], strict=True):
            gradient = torch.stack([p.grad for p in group if p.grad is not None])
            momentum.lerp_(gradient, 1 - beta)
            ahead = gradient.lerp_(momentum, beta)  # as Nesterov looks a step ahead
            update = self._lr * _scale(ahead) * orthogonalize(ahead, self.dtype)
            for p, moved in zip(group, update, strict=True):
                p.mul_(keep).sub_(moved)


def orthogonalize(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the matrices ``x`` [n x R x C] with their singular values moved to about 1.

    That is to between 0.67 and 1.25, by Newton-Schulz iterations in ``dtype``. One below
    1/600 of a matrix's norm (Frobenius's) stays smaller.

    An iteration multiplies ``y`` by a polynomial of its Gram matrix ``y.mT @ y``, which is
    the smaller the taller ``y`` is; so several run on that matrix alone. Rounding errors
    grow from one to the next: after three, ``y`` and its Gram matrix are made anew.
    """
    tall = x.shape[1] >= x.shape[2]
    y = (x if tall else x.mT).to(dtype)
    y = y / (y.norm(dim=(1, 2), keepdim=True) + 1e-7)  # no singular value is above 1
    for steps in _RUNS:
        y = y @ _multiplier(y.mT @ y, steps)
    return (y if tall else y.mT).to(x.dtype)


def _multiplier(gram: Tensor, steps: int) -> Tensor:
    """Return the product [n x C x C] of the polynomials of ``steps`` iterations."""
    product = polynomial = _polynomial(gram)
    for _ in range(steps - 1):
        gram = polynomial @ gram @ polynomial  # they commute: all are polynomials of one
        polynomial = _polynomial(gram)
        product = product @ polynomial
    return product


def _polynomial(gram: Tensor) -> Tensor:
    """Return a + b G + c G^2 of matrices G [n x C x C]."""
    result = torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C)
    result.diagonal(dim1=1, dim2=2).add_(_A)
    return result


def _scale(x: Tensor) -> float:
    """Return by what tall matrices move further, so that outputs change as much."""
    return math.sqrt(max(1, x.shape[1] / x.shape[2]))
