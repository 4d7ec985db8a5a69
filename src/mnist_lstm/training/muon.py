"""Muon: the LSTM's matrices move by their orthogonalised momentum, all else by AdamW.

Source: K. Jordan et al., https://kellerjordan.github.io/posts/muon/
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from mnist_lstm.model import LSTMClassifier
from mnist_lstm.plumbing.params import TrainParams
from mnist_lstm.training.optimizer import AdamW

_GATES = 4  # input, forget, cell, output: each has its rows of an LSTM's matrix
# A singular value s becomes p(p(...p(s))), near to 1, with p(s) = a s + b s^3 + c s^5.
_A, _B, _C = 3.4445, -4.7750, 2.0315


def make_optimizer(model: LSTMClassifier, params: TrainParams) -> "AdamW | Muon":
    """Return the optimizer that ``train.optimizer`` names."""
    if params.optimizer == "muon":
        return Muon(model, params)
    return AdamW(model.parameters(), params)


class Muon:
    """Muon for the LSTM's weight matrices, AdamW for its biases and the last layer.

    ``torch.optim.Muon`` takes a matrix as a whole, and importing it imports the compiler.
    Here each gate's block moves by itself, and blocks of one shape are one batch.
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
        # A product of bfloat16s is as good here, and faster where the hardware has it.
        self.dtype = torch.bfloat16 if model.precision == "bf16" else torch.float32
        # A graph reads it where it lies on the device.
        self._lr = torch.tensor(params.muon_lr, device=self.parameters[0].device)
        shapes = dict.fromkeys(p.shape for p in matrices)
        self.groups = [[p for p in matrices if p.shape == shape] for shape in shapes]
        momentum = [torch.zeros_like(_blocks(group)) for group in self.groups]
        self.state = self.adamw.state | {"momentum": momentum}

    def set_lr(self, lr: float) -> None:
        """Take ``lr`` as AdamW's learning rate from now on; Muon's moves in proportion."""
        self.adamw.set_lr(lr)
        self._lr.fill_(lr / self.params.lr * self.params.muon_lr)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the weights by their gradients, which are first clipped in place."""
        if self.params.clip:
            clip_grad_norm_(self.parameters, self.params.clip)
        self.adamw.step()
        beta, keep = self.params.momentum, 1 - self._lr * self.params.weight_decay
        for group, momentum in zip(self.groups, self.state["momentum"], strict=True):
            gradient = _blocks([p.grad for p in group if p.grad is not None])
            momentum.lerp_(gradient, 1 - beta)
            ahead = gradient.lerp_(momentum, beta)  # as Nesterov looks a step ahead
            update = self._lr * _scale(ahead) * orthogonalize(ahead, self.dtype)
            for p, blocks in zip(group, update.chunk(len(group)), strict=True):
                p.mul_(keep).sub_(blocks.flatten(0, 1))


def orthogonalize(x: Tensor, dtype: torch.dtype, steps: int = 5) -> Tensor:
    """Return the matrices ``x`` [n x R x C] with each singular value moved to about 1.

    That is to between 0.7 and 1.2, by Newton-Schulz iterations in ``dtype``; one that is
    less than a thousandth of the others stays smaller.
    """
    tall = x.shape[1] > x.shape[2]
    y = (x.mT if tall else x).to(dtype)  # products of the smaller side
    y = y / (y.norm(dim=(1, 2), keepdim=True) + 1e-7)  # no singular value is above 1
    for _ in range(steps):
        square = y @ y.mT
        polynomial = torch.baddbmm(square, square, square, beta=_B, alpha=_C)
        y = torch.baddbmm(y, polynomial, y, beta=_A)
    return (y.mT if tall else y).to(x.dtype)


def _blocks(matrices: Sequence[Tensor]) -> Tensor:
    """Return the gates' blocks [n x D x Q] of LSTM matrices [4D x Q]."""
    return torch.cat([p.unflatten(0, (_GATES, -1)) for p in matrices])


def _scale(x: Tensor) -> float:
    """Return by what a tall matrix moves further, so that outputs change as much."""
    return math.sqrt(max(1, x.shape[1] / x.shape[2]))
