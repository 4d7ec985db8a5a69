"""A training step as one CUDA graph: launching its many kernels one by one takes longer."""

import sys
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

Batch = tuple[Tensor, ...]  # as Split.batches yields it
Step = Callable[..., Tensor]
_WARM_UP = 3  # steps in which cuDNN, cuBLAS and the optimizer make what they keep


class GraphedStep:
    """A step that is captured once it was taken a few times, and replayed from then on.

    Each size of batch has a graph of its own: an epoch's last batch is smaller, and shards
    of a batch may differ by one. From a capture that fails on, steps are taken one by one.
    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    def __init__(self, step: Step):
        self.step = step
        self.stream: torch.cuda.Stream | None = None
        self.taken = Counter[torch.Size]()  # steps before the capture, by the size of x
        # by the size of x: what the graph reads (each batch is copied there), its loss
        self.graphs: dict[torch.Size, tuple[Batch, Tensor, torch.cuda.CUDAGraph]] = {}
        self.fails = False

    def __call__(self, *batch: Tensor) -> Tensor:
        """Take a step on the ``batch``; return its loss, on the device."""
        size = batch[0].shape
        if size not in self.graphs:
            if self.taken[size] < _WARM_UP:
                self.taken[size] += 1
                return self._beside(batch)
            copies = tuple(values.clone() for values in batch)
            if self.fails or not self._capture(copies):
                return self.step(*batch)
        static, loss, graph = self.graphs[size]
        for place, values in zip(static, batch, strict=True):
            place.copy_(values)
        graph.replay()
        return loss.clone()

    def _beside(self, batch: Batch) -> Tensor:
        """Take the step on a stream of its own, as a capture will."""
        # one for all: cuBLAS keeps a workspace for each
        stream = self.stream = self.stream or torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            loss = self.step(*batch)
        torch.cuda.current_stream().wait_stream(stream)
        return loss

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
            self.fails = True
            return False
        self.graphs[batch[0].shape] = batch, loss, graph
        return True
