"""Several processes that train one model, on any number of hosts, with the bits of one.

A batch is cut into ``train.shards`` parts, whatever the number of workers. Each shard's
gradient is computed by one of them; all gather all of these, and add them in the order of
the shards. So every worker takes the very same step, and none needs to send its weights.
PyTorch's own DistributedDataParallel adds them in an order that depends on the number of
workers, and so do its bits.
"""

import atexit
import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from mnist_lstm.data.splits import Split
from mnist_lstm.evaluation import batch_size, compute_logits
from mnist_lstm.models.base import Model
from mnist_lstm.plumbing.environment import IS_WORKER, STORE, number_from
from mnist_lstm.plumbing.errors import UserError, WorkersError
from mnist_lstm.plumbing.params import TrainParams
from mnist_lstm.plumbing.script import ending_at_once
from mnist_lstm.training.cudagraph import GraphedStep, Step

_LONGEST = 7 * 24 * 3600  # seconds to wait for another worker
_LOST = (
    "another worker is gone, or does not answer; run the same again, on any number of "
    "workers: training goes on from where it is"
)


@dataclass(frozen=True)
class Workers:
    """The processes that train together; this one is ``rank`` of ``count``."""

    rank: int = 0
    count: int = 1

    def gather(self, part: Tensor) -> Tensor:
        """Return all workers' parts [n x ...], in their order, as [count * n x ...].

        Raises:
            WorkersError: another worker is gone, or has not answered in time.
        """
        if self.count == 1:
            return part
        own = part.cpu()  # where gloo gathers
        whole = own.new_empty(self.count * len(own), *own.shape[1:])
        _together("all_gather_into_tensor", whole, own)
        return whole.to(part.device)

    def logits(self, model: Model, split: Split, done: int) -> Iterator[Tensor]:
        """Yield the logits of ``split``, but for its first ``done`` examples, in order.

        Each worker computes a batch at a time: the batches of one worker alone.
        """
        size = batch_size(split)
        for first in range(done, len(split), size * self.count):
            n = len(split) - first
            begin, end = (min(n, (self.rank + i) * size) for i in (0, 1))
            own = torch.arange(first + begin, first + end, device=split.labels.device)
            part = torch.zeros(size, model.params.ydim, device=split.labels.device)
            if len(own):
                part[: len(own)] = compute_logits(model, split.take(own))
            yield self.gather(part)[:n]

    def agree(self, prepare: Callable[[], Any], tell: Callable[[Any], dict]) -> Any:
        """Return what ``prepare`` returns, where it succeeds for all workers.

        What they ``tell`` of it, by name, has to be the same for all.

        Raises:
            UserError: what went wrong, or differs from worker 0, and for which worker.
        """
        if self.count == 1:
            return prepare()
        prepared, told, wrong = None, {}, ()
        try:
            prepared = prepare()
            told = tell(prepared)
        except UserError as error:
            wrong = error.args
        everyone: list[Any] = [None] * self.count
        _together("all_gather_object", everyone, (wrong, told, socket.gethostname()))
        expected = everyone[0][1]
        for rank, (wrong, told, host) in enumerate(everyone):
            if wrong:
                raise UserError(*(f"worker {rank} on {host}: {line}" for line in wrong))
            # the first: with other data, another machine is told, too
            if other := [name for name in told if told[name] != expected[name]]:
                raise UserError(
                    f"worker {rank} on {host} has other {other[0]} than worker 0; give "
                    "every host the same commit, data, packages and kind of processor"
                )
        return prepared

    def spread(self, value: object) -> Any:
        """Return the ``value`` that worker 0 has."""
        box = [value]
        _together("broadcast_object_list", box)
        return box[0]


ALONE = Workers()


class ShardedStep:
    """A training step whose batch is cut into ``train.shards`` parts."""

    def __init__(self, run: Any, workers: Workers):
        self.run = run  # loop.Run, which imports this
        self.workers = workers
        own = run.params.shards // workers.count
        self.own = range(workers.rank * own, (workers.rank + 1) * own)
        self.gradient: Step = self._gradient
        if run.device.type == "cuda":
            self.gradient = GraphedStep(self._gradient)
        self.sizes = [values.numel() for values in run.model.parameters()]

    def __call__(self, *batch: Tensor) -> Tensor:
        """Learn from a ``batch`` as Split.batches yields it; return its mean loss [].

        Raises:
            WorkersError: another worker is gone; no weight has moved.
        """
        rows = torch.stack([self._row(batch, shard) for shard in self.own])
        first, *others = self.workers.gather(rows)
        total = first.clone()
        for row in others:
            total += row
        *gradients, loss = (total / len(batch[0])).split([*self.sizes, 1])
        for values, gradient in zip(self.run.model.parameters(), gradients, strict=True):
            values.grad = gradient.view_as(values)
        self.run.move()
        return loss[0].clone()  # the run keeps it: not the whole of `total` with it

    def _row(self, batch: tuple[Tensor, ...], shard: int) -> Tensor:
        """Return the sum of the gradients on a shard's examples, and of losses: [P + 1]."""
        params, n = self.run.params, len(batch[0])
        part = slice(*(n * end // params.shards for end in (shard, shard + 1)))
        if part.start == part.stop:  # of an epoch's last batch
            return batch[0].new_zeros(sum(self.sizes) + 1)
        # What chance draws must depend on neither the worker nor how many there are.
        words = f"{params.seed} {self.run.taken()} {shard}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(words.encode()).digest()[:7]))
        return self.gradient(*(values[part] for values in batch))

    def _gradient(self, *batch: Tensor) -> Tensor:
        loss = self.run.loss(*batch, reduction="sum")
        self.run.model.zero_grad()
        loss.backward()
        gradients = [
            p.grad.flatten() for p in self.run.model.parameters() if p.grad is not None
        ]
        return torch.cat([*gradients, loss.detach().view(1)])


def join_workers(params: TrainParams) -> Workers:
    """Join the processes that were started beside this one to train with it, if any were.

    With shards, a CPU computes on one thread a worker: in float32, bits depend on it.

    Raises:
        UserError: the workers cannot share so many shards; ``TRAIN_TIMEOUT`` is no number.
        WorkersError: some do not come.
    """
    rank, count = 0, 1
    if IS_WORKER:
        rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if params.shards % count:
        raise UserError(
            f"params.yaml: train.shards must be a multiple of the {count} workers, "
            f"got {params.shards}"
        )
    if params.shards > params.batch_size:
        raise UserError(
            "params.yaml: train.shards must be at most train.batch_size "
            f"({params.batch_size}), got {params.shards}"
        )
    if params.shards > 1:
        torch.set_num_threads(1)
    if count > 1:
        _connect(params.device, rank, count)
    return Workers(rank, count)


def _connect(device: str, rank: int, count: int) -> None:
    """Meet the other workers; gloo alone tells of one that is lost, or does not answer."""
    import torch.distributed as dist  # not above: one worker needs none of it

    if device != "cpu" and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    timeout = timedelta(seconds=number_from("TRAIN_TIMEOUT", default=60, most=_LONGEST))
    members: dict[str, Any] = {"rank": rank, "world_size": count}
    if STORE in os.environ:  # else torchrun says where
        members["store"] = dist.FileStore(os.environ[STORE], count)
    try:
        with ending_at_once():
            dist.init_process_group("gloo", timeout=timeout, **members)
    except (RuntimeError, ValueError):
        raise WorkersError(_LOST) from None
    # Gloo's threads would end a Python that is ending itself, by SIGABRT.
    atexit.register(dist.destroy_process_group)


def _together(collective: str, *arguments: object) -> None:
    """Call what all workers call together."""
    import torch.distributed as dist

    try:
        getattr(dist, collective)(*arguments)
    except RuntimeError:  # the others are gone, or did not come in time
        raise WorkersError(_LOST) from None
