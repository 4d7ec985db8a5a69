"""A training step as one CUDA graph: launching its many kernels one by one takes longer."""

import sys
from collections import Counter
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

Batch = tuple[Tensor, ...]  # as Split.batches yields it
Step = Callable[..., Tensor]
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

    def __call__(self, *batch: Tensor) -> Tensor:
        """Take a step on the ``batch``; return its loss, on the device."""
        size = batch[0].shape
        if size not in self.graphs:
            if self.taken[size] < _WARM_UP:
                self.taken[size] += 1
                return self._beside(batch)
            copies = tuple(values.clone() for values in batch)
            if len(self.graphs) >= self.most or not self._capture(copies):
                return self.step(*batch)
        static, loss, graph = self.graphs[size]
        for place, values in zip(static, batch, strict=True):
            place.copy_(values)
        graph.replay()
        return loss.clone()

    def _beside(self, batch: Batch) -> Tensor:
        """Take the step on a stream of its own, as a capture will."""
        stream = self.stream
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            loss = self.step(*batch)
        torch.cuda.current_stream().wait_stream(stream)
        return loss

    @cached_property
    def stream(self) -> torch.cuda.Stream:
        """One for all: cuBLAS keeps a workspace for each."""
        return torch.cuda.Stream()

    def _capture(self, batch: Batch) -> bool:
        """Record the step on ``batch``, if it can be; nothing is computed."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                loss = self.step(*batch)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            print(f"warning: no CUDA graph, steps are slower: {reason}", file=sys.stderr)
            self.most = 0
            return False
        self.graphs[batch[0].shape] = batch, loss, graph
        return True
