"""A training step as one CUDA graph: launching its many kernels one by one takes longer."""

import sys
from collections import Counter
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]
Step = Callable[[Tensor, Tensor], Tensor]
_MOST = 4  # graphs: of a batch and an epoch's last, each in shards of two sizes
_WARM_UP = 3  # steps in which cuDNN, cuBLAS and the optimizer make what they keep


class GraphedStep:
    """A step that is captured once it was taken a few times, and replayed from then on.

    Each size of batch has a graph of its own: an epoch's last batch is smaller, and shards
    of a batch may differ by one. Where a capture fails, batches are taken as they come.
    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    def __init__(self, step: Step):
        self.step = step
        self.taken = Counter[torch.Size]()  # steps before the capture, by the size of x
        # by the size of x: what the graph reads (each batch is copied there), its loss
        self.graphs: dict[torch.Size, tuple[Batch, Tensor, torch.cuda.CUDAGraph]] = {}
        self.most = _MOST

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Take a step on the batch (``x``, ``y``); return its loss, on the device."""
        if x.shape not in self.graphs:
            if self.taken[x.shape] < _WARM_UP:
                self.taken[x.shape] += 1
                return self._beside(x, y)
            if len(self.graphs) >= self.most or not self._capture(x.clone(), y.clone()):
                return self.step(x, y)
        batch, loss, graph = self.graphs[x.shape]
        for static, values in zip(batch, (x, y), strict=True):
            static.copy_(values)
        graph.replay()
        return loss.clone()

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

    def _capture(self, x: Tensor, y: Tensor) -> bool:
        """Record the step on (``x``, ``y``), if it can be; nothing is computed."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                loss = self.step(x, y)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            print(f"warning: no CUDA graph, steps are slower: {reason}", file=sys.stderr)
            self.most = 0
            return False
        self.graphs[x.shape] = (x, y), loss, graph
        return True
