"""A training step as one CUDA graph: launching its many kernels one by one takes longer."""

import sys
from collections import Counter
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor], Tensor]
_WARM_UP = 3  # steps in which cuDNN, cuBLAS and the optimizer make what they keep


class GraphedStep:
    """A step that is captured once it was taken a few times, and replayed from then on.

    Batches of the size that is met ``_WARM_UP`` times first are replayed; a batch of
    another size, as the last of an epoch, is taken as it comes. Where the capture fails,
    so is every batch.
    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    def __init__(self, step: Step):
        self.step = step
        self.taken = Counter[torch.Size]()  # steps before the capture, by the size of x
        # what the graph reads: each batch, x and y, is copied there; None before it is made
        self.batch: tuple[Tensor, Tensor] | None = None
        self.loss: Tensor | None = None  # what it writes
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Take a step on the batch (``x``, ``y``); return its loss, on the device."""
        if self.batch is None:
            if self.taken[x.shape] < _WARM_UP:
                self.taken[x.shape] += 1
                return self._beside(x, y)
            self.batch = x.clone(), y.clone()
            self._capture(*self.batch)
        if self.graph is None or self.loss is None or x.shape != self.batch[0].shape:
            return self.step(x, y)
        for static, values in zip(self.batch, (x, y), strict=True):
            static.copy_(values)
        self.graph.replay()
        return self.loss.clone()

    def _beside(self, x: Tensor, y: Tensor) -> Tensor:
        """Take the step on a stream of its own, as a capture will."""
        stream = self.stream
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            loss = self.step(x, y)
        torch.cuda.current_stream().wait_stream(stream)
        return loss

    @cached_property
    def stream(self) -> torch.cuda.Stream:
        """One for all: cuBLAS keeps a workspace for each."""
        return torch.cuda.Stream()

    def _capture(self, x: Tensor, y: Tensor) -> None:
        """Record the step on (``x``, ``y``); nothing is computed."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.loss = self.step(x, y)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            print(f"warning: no CUDA graph, steps are slower: {reason}", file=sys.stderr)
        else:
            self.graph = graph
