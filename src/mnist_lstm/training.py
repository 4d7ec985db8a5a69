"""The training loop."""

import copy
import math
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from mnist_lstm import device, evaluation
from mnist_lstm.augmentation import bend
from mnist_lstm.cudagraph import Graphed
from mnist_lstm.errors import UserError
from mnist_lstm.optimizer import AdamW, average, learning_rate
from mnist_lstm.params import AugmentParams, TrainParams
from mnist_lstm.tensors import Split


class DivergedError(UserError):
    """A loss or a weight that is no finite number; says where, and what to change."""


class Run:
    """A training run: all that it takes to go on from between two steps, bit for bit."""

    def __init__(self, model: nn.Module, params: TrainParams, augment: AugmentParams):
        self.model = model
        # what is judged and saved: the average of the weights, or the weights
        self.averaged = copy.deepcopy(model) if params.ema else model
        self.params = params
        self.augment = augment
        self.optimizer = AdamW(model.parameters(), params)
        self.step = Graphed(self.take_step) if self.optimizer.cuda else self.take_step
        self.generator = torch.Generator().manual_seed(params.seed)
        self.epoch = 0  # the untrained model is judged first
        self.order: Tensor | None = None  # int64 [N], the epoch's; None before it is drawn
        self.losses: list[Tensor] = []  # of the epoch's steps; on the device: no waiting
        # [M x ydim], by batch, of each split that is judged at the epoch's end
        self.logits: dict[str, list[Tensor]] = {"train": [], "heldout": []}
        self.history: list[dict[str, float]] = []

    @property
    def place(self) -> str:
        """Where the run stands, in words."""
        return f"epoch {self.epoch}, step {len(self.losses)}"

    def take_step(self, x: Tensor, y: Tensor) -> Tensor:
        """Learn from a batch, x [B x L x Q] and y int64 [B]; return its mean loss."""
        logits = self.model(bend(x, self.augment))
        loss = cross_entropy(logits, y, label_smoothing=self.params.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def end_epoch(self, row: dict[str, float]) -> None:
        """Add ``row`` to the history and begin the next epoch."""
        self.history.append(row)
        self.epoch += 1
        self.order = None
        self.losses = []
        self.logits = {"train": [], "heldout": []}

    def check(self) -> None:
        """Look for what went wrong on the device since the last look.

        Raises:
            DivergedError: names the step of the epoch whose loss is not finite.
        """
        values = torch.stack(self.losses).tolist() if self.losses else []
        for step, value in enumerate(values, 1):
            if not math.isfinite(value):
                raise self.diverged(f"step {step}: the loss is {value}")
        if not all(values.isfinite().all() for values in self.model.parameters()):
            raise self.diverged(f"step {len(values)}: the weights are not finite")

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """Return tensors, and what JSON can say, for :meth:`restore`.

        Raises:
            DivergedError: nothing to go on from.
        """
        self.check()
        tensors = {f"model.{name}": v for name, v in self.model.state_dict().items()}
        if self.averaged is not self.model:
            averaged = self.averaged.state_dict()
            tensors |= {f"averaged.{name}": v for name, v in averaged.items()}
        for name, values in self.optimizer.state.items():
            tensors |= {f"optimizer.{name}.{i}": v for i, v in enumerate(values)}
        tensors["generator.order"] = self.generator.get_state()
        tensors["generator.cpu"] = torch.get_rng_state()
        if torch.cuda.is_initialized():
            tensors["generator.cuda"] = torch.cuda.get_rng_state()
        if self.order is not None:
            tensors["order"] = self.order
        if self.losses:
            tensors["losses"] = torch.stack(self.losses)
        tensors |= {f"logits.{name}": torch.cat(v) for name, v in self.logits.items() if v}
        return tensors, {"epoch": self.epoch, "history": self.history}

    def restore(self, tensors: dict[str, Tensor], about: dict) -> None:
        """Go back to where :meth:`state` was taken."""
        device = next(self.model.parameters()).device
        self.epoch, self.history = about["epoch"], list(about["history"])
        self.generator.set_state(tensors["generator.order"])
        torch.set_rng_state(tensors["generator.cpu"])
        if "generator.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["generator.cuda"])
        self.order = tensors.get("order")
        self.losses = list(tensors.get("losses", torch.empty(0)).to(device).unbind())
        for name in self.logits:
            known = tensors.get(f"logits.{name}")
            self.logits[name] = [] if known is None else [known.to(device)]
        self.model.load_state_dict(_under("model.", tensors))
        if self.averaged is not self.model:
            self.averaged.load_state_dict(_under("averaged.", tensors))
        for name, values in self.optimizer.state.items():
            for i, value in enumerate(values):
                value.copy_(tensors[f"optimizer.{name}.{i}"])

    def diverged(self, found: str) -> DivergedError:
        """Return the error for what was ``found`` in this epoch."""
        return DivergedError(
            f"epoch {self.epoch}, {found}: training diverged at learning rate "
            f"{self.params.lr:g}; lower train.lr in params.yaml"
        )


def fit(
    run: Run, train: Split, heldout: Split, tick: Callable[[], None] = lambda: None
) -> Iterator[dict[str, float]]:
    """Train ``run.model`` in place; yield a row for the untrained model and for each epoch.

    Args:
        run: where to go on from; its model is on the device of the splits.
        train: what it learns from, in a new order each epoch.
        heldout: what it is judged by after each epoch, and never learns from.
        tick: called between any two steps, when a checkpoint may be taken.

    Yields:
        ``epoch`` (0: untrained), ``train_loss`` (in nats; the mean over the epoch's images
        as they were learnt from, bent and with smoothed labels, or of the untrained model),
        and at the epoch's end ``train_accuracy``, ``heldout_loss`` and
        ``heldout_accuracy`` of ``run.averaged``.

    Raises:
        DivergedError: a loss or a weight that is not finite.
    """
    while run.epoch <= run.params.epochs:
        learnt = {}
        if run.epoch > 0:
            device.trim_memory()  # judging leaves it in pieces that fit no step
            learnt["train_loss"] = train_epoch(run, train, tick)
        row = {"epoch": run.epoch} | _judge(run, train, heldout, tick) | learnt
        run.end_epoch(row)
        yield row


def train_epoch(run: Run, train: Split, tick: Callable[[], None]) -> float:
    """Take the steps of an epoch that are not yet taken; return the mean loss of all."""
    size = run.params.batch_size
    if run.order is None:
        run.order = torch.randperm(len(train), generator=run.generator)
    done = len(run.losses) * size
    steps = math.ceil(len(train) / size)
    run.model.train()
    with Progress(len(train), f"epoch {run.epoch}/{run.params.epochs}", done) as progress:
        for x, y in train.batches(size, run.order, done):
            taken = (run.epoch - 1) * steps + len(run.losses)
            lr = learning_rate(run.params, taken, run.params.epochs * steps)
            run.optimizer.set_lr(lr)
            loss = run.step(x, y)
            run.losses.append(loss)
            if run.averaged is not run.model:
                average(run.averaged, run.model, run.params.ema, taken + 1)
            progress.advance(len(y), loss)
            tick()
    run.check()
    losses = torch.stack(run.losses).double()
    losses[-1] *= (len(train) - size * (len(losses) - 1)) / size  # may be a smaller batch
    return losses.sum().item() * size / len(train)


def sentence(row: dict[str, float], heldout_name: str) -> str:
    """Return a row of :func:`fit` as a line for the terminal."""
    return (
        f"epoch {row['epoch']:>3}  loss {row['train_loss']:.3f}  "
        f"train accuracy {row['train_accuracy']:.3f}  "
        f"{heldout_name} accuracy {row['heldout_accuracy']:.3f}"
    )


def _judge(
    run: Run, train: Split, heldout: Split, tick: Callable[[], None]
) -> dict[str, float]:
    row = {}
    for name, split in {"train": train, "heldout": heldout}.items():
        found = run.logits[name]
        for logits in evaluation.logits_by_batch(run.averaged, split, sum(map(len, found))):
            found.append(logits)
            tick()
        score = evaluation.score(torch.cat(found), split.labels)
        if not math.isfinite(score.loss):
            raise run.diverged(f"judging: the {name} loss is {score.loss}")
        row |= {f"{name}_loss": score.loss, f"{name}_accuracy": score.accuracy}
    return row


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with ``prefix``, by the rest of their names."""
    return {
        name.removeprefix(prefix): values
        for name, values in tensors.items()
        if name.startswith(prefix)
    }


class Progress:
    """A bar of images and images/s with the latest loss; none where output is no terminal.

    Reading a loss from a GPU would make the step wait for it. The bar instead asks for a
    copy each time it is drawn, ten times a second, and shows what has come by the next.
    """

    def __init__(self, n: int, title: str, done: int = 0):
        self.bar = tqdm(
            total=n,
            initial=min(n, done),
            desc=title,
            unit=" images",
            unit_scale=True,
            leave=False,
            disable=None,
            file=sys.stdout,
        )
        self.latest: Tensor | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()

    def advance(self, n: int, loss: Tensor) -> None:
        """Count ``n`` more images, of which ``loss`` (a scalar on any device) came."""
        if not self.bar.update(n):  # not drawn this time
            return
        if self.latest is None:
            self.latest = torch.full((), torch.nan, pin_memory=loss.is_cuda)
        else:
            self.bar.set_postfix_str(f"loss {self.latest.item():.3f}", refresh=False)
        self.latest.copy_(loss.detach(), non_blocking=True)
