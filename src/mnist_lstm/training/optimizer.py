"""How weights move: AdamW's step, the learning rate over a run, the average of weights."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from mnist_lstm.plumbing.params import TrainParams


class AdamW:
    """Adam with decoupled weight decay; without it (``train.weight_decay: 0``), plain Adam.

    The arithmetic is PyTorch's own fused kernel. ``torch.optim.AdamW`` around it imports
    the compiler: 150 MB, and a second or two before the first step.
    Source: https://arxiv.org/abs/1711.05101
    """

    def __init__(self, parameters: Iterable[Tensor], params: TrainParams):
        """Begin with moments of zero; ``params`` says betas and decay."""
        self.parameters = list(parameters)
        self.params = params
        device = self.parameters[0].device
        self._lr: Tensor | float = params.lr
        if device.type == "cuda":  # a graph reads it where it lies on the device
            self._lr = torch.tensor(params.lr, device=device)
        self.state = {
            "exp_avg": [torch.zeros_like(p) for p in self.parameters],
            "exp_avg_sq": [torch.zeros_like(p) for p in self.parameters],
            "step": [torch.zeros((), device=device) for _ in self.parameters],
        }

    def set_lr(self, lr: float) -> None:
        """Take ``lr`` as the learning rate of the steps to come."""
        if isinstance(self._lr, Tensor):
            self._lr.fill_(lr)
        else:
            self._lr = lr

    @torch.no_grad()
    def step(self) -> None:
        """Move the weights by their gradients."""
        adamw(
            self.parameters,
            [p.grad for p in self.parameters if p.grad is not None],
            self.state["exp_avg"],
            self.state["exp_avg_sq"],
            [],
            self.state["step"],
            fused=True,
            capturable=isinstance(self._lr, Tensor),
            amsgrad=False,
            beta1=self.params.beta1,
            beta2=self.params.beta2,
            lr=self._lr,
            weight_decay=self.params.weight_decay,
            eps=1e-8,
            maximize=False,
        )


def learning_rate(params: TrainParams, step: int, steps: int) -> float:
    """Return the learning rate of ``step`` (from 0) of a run of ``steps``.

    ``one_cycle`` rises in a line to ``lr`` over the share ``warmup`` of the steps, and
    falls to ``final_lr`` along half a cosine. As a function of the step it has no state
    that a resumed run would need, which ``torch.optim.lr_scheduler.OneCycleLR`` has.
    Source: https://arxiv.org/abs/1708.07120
    """
    if params.schedule == "constant":
        return params.lr
    rising = params.warmup * steps
    if step + 1 < rising:
        return params.lr * (step + 1) / rising
    done = (step + 1 - rising) / (steps - rising)  # 1 at the last step
    share = (1 + math.cos(math.pi * done)) / 2
    return params.final_lr + share * (params.lr - params.final_lr)


@torch.no_grad()
def update_ema(ema_model: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the weights of ``ema_model`` to the model's: an exponential moving average.

    Early on, when they are mostly untrained weights, they follow faster than ``decay``:
    after ``step`` steps by (1 + step) / (10 + step).
    """
    decay = min(decay, (1 + step) / (10 + step))
    means: list[Tensor] = list(ema_model.parameters())
    news: list[Tensor] = list(model.parameters())
    torch._foreach_lerp_(means, news, 1 - decay)  # on CUDA one kernel
