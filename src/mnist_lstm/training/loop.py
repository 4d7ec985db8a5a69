"""A training step, the loop around it, and the run: what both go on from."""

import copy
import functools
import hashlib
import math
from collections.abc import Generator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_, parameters_to_vector

from mnist_lstm.data.splits import Split
from mnist_lstm.device import Compute, release_freed_memory, retain_freed_memory
from mnist_lstm.evaluation import Score, score
from mnist_lstm.models.base import Model, make_model
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import AugmentParams, ModelParams, TrainParams
from mnist_lstm.plumbing.progress import bar
from mnist_lstm.training.augmentation import augment, strength_at
from mnist_lstm.training.cudagraph import GraphedStep, Step
from mnist_lstm.training.distributed import ALONE, ShardedStep, Workers
from mnist_lstm.training.muon import make_optimizer
from mnist_lstm.training.optimizer import learning_rate, update_ema

Row = dict[str, float]
_PROBE = 32  # examples of the fingerprint


def train_step(run: "Run", *batch: Tensor) -> Tensor:
    """Learn from a ``batch`` as Split.batches yields it; return its mean loss []."""
    loss = run.loss(*batch)
    run.model.zero_grad()
    loss.backward()
    run.move()
    return loss.detach()


def fit(
    run: "Run", train: Split, heldout: Split, evaluate_train: bool = True
) -> Generator[Row | None]:
    """Train ``run.model`` in place, from where the run stands to its last epoch.

    It learns from ``train``, in a new order each epoch, and never from ``heldout``. After
    each epoch it is evaluated on both; where not ``evaluate_train``, on ``heldout`` alone.

    Yields:
        None between any two steps, when a checkpoint may be saved; at the end of an epoch
        its row: ``epoch`` (0: the untrained model), ``train_loss`` (in nats: the mean over
        the epoch's examples as they were learnt from, augmented and with smoothed labels),
        ``train_accuracy``, ``heldout_loss`` and ``heldout_accuracy`` of ``run.ema_model``.

    Raises:
        UserError: a loss or a weight is not finite.
    """
    splits = {"train": train} if evaluate_train else {}
    splits["heldout"] = heldout
    while run.epoch <= run.params.epochs:
        learnt: Row = {}
        if run.epoch > 0:  # epoch 0 evaluates the untrained model
            release_freed_memory()  # evaluation leaves it in pieces that fit no step
            n = run.begin_epoch(train)
            title = f"epoch {run.epoch}/{run.params.epochs}"
            with bar(n, title, " examples", min(n, run.done)) as shown:
                for batch in train.batches(run.params.batch_size, run.order, run.done):
                    run.begin_step()
                    loss = run.step(*batch)
                    run.end_step(loss)
                    if shown.update(len(batch[0])):  # it is drawn, ten times a second
                        shown.set_postfix_str(f"loss {loss.item():.3f}", refresh=False)
                    yield None
            learnt["train_loss"] = run.mean_loss(n)
        row: Row = {"epoch": run.epoch}
        for name, split in splits.items():
            found = yield from run.evaluate(name, split)
            row |= {f"{name}_loss": found.loss, f"{name}_accuracy": found.accuracy}
        row |= learnt
        run.end_epoch(row)
        yield row


def start_run(
    model: ModelParams,
    train: TrainParams,
    augment: AugmentParams,
    compute: Compute,
    workers: Workers = ALONE,
) -> "Run":
    """Return a run of an untrained model; from here on, the process keeps freed memory."""
    retain_freed_memory()
    classifier = make_model(model, compute.precision).to(compute.device)
    return Run(classifier, train, augment, workers)


class Run:
    """A training run: all that it takes to go on from between two steps, bit for bit."""

    def __init__(
        self,
        model: Model,
        params: TrainParams,
        augment: AugmentParams,
        workers: Workers = ALONE,
    ):
        self.model = model
        # what is evaluated and saved: a moving average of the weights, or the weights
        self.ema_model = model
        self.modules = {"model": model}
        if params.ema:
            self.ema_model = self.modules["ema_model"] = copy.deepcopy(model)
            for module in self.ema_model.modules():
                if isinstance(module, nn.RNNBase):
                    module.flatten_parameters()  # a copy is in pieces, slower on CUDA
        if params.keep == "best":
            self.modules["best_model"] = copy.deepcopy(model)
        self.params = params
        self.augment = augment
        self.device = next(model.parameters()).device
        # A graph reads it where it lies on the device.
        self.strength = torch.ones((), device=self.device)
        self.optimizer = make_optimizer(model, params)
        self.workers = workers
        step = functools.partial(train_step, self)
        self.step: Step = GraphedStep(step) if self.device.type == "cuda" else step
        if params.shards > 1:
            self.step = ShardedStep(self, workers)
        self.generator = torch.Generator().manual_seed(params.seed)
        self.epoch = 0
        self.order: Tensor | None = None  # int64 [N], the epoch's; None before it is drawn
        self.losses: list[Tensor] = []  # of the epoch's steps; on the device: no waiting
        # [M x ydim], by batch, of each split that is evaluated at the epoch's end
        self.logits: dict[str, list[Tensor]] = {"train": [], "heldout": []}
        self.history: list[Row] = []

    @property
    def position(self) -> str:
        """Where the run stands, in words."""
        return f"epoch {self.epoch}, step {len(self.losses)}"

    @property
    def done(self) -> int:
        """How many examples of the epoch's order were learnt from."""
        return len(self.losses) * self.params.batch_size

    def fingerprint(self, train: Split) -> str:
        """Return a hash of the gradients on a few rows of a few examples, before any step.

        It tells apart what computes in other bits: another processor, or a library that is
        told to use other instructions. It draws nothing.
        """
        few = train.take(torch.arange(min(_PROBE, len(train)), device=train.labels.device))
        devices = [few.labels.device] if few.labels.is_cuda else []
        digest = hashlib.sha256()
        with torch.random.fork_rng(devices):
            for x, y, *_ in few.batches(_PROBE):
                rows = x[:, x.shape[1] // 2 :][:, :4]  # the upper ones are blank
                cross_entropy(self.model.train()(rows), y).backward()
        for values in self.model.parameters():
            if values.grad is not None:
                digest.update(values.grad.cpu().numpy().data)
        self.model.zero_grad()
        return digest.hexdigest()[:12]

    def begin_epoch(self, train: Split) -> int:
        """Draw the epoch's examples, unless a checkpoint brought them; return how many."""
        self.model.train()
        if self.order is None:
            order = torch.randperm(len(train), generator=self.generator)
            self.order = order[: self.params.epoch_size or None]
        self.steps = math.ceil(len(self.order) / self.params.batch_size)
        return len(self.order)

    def loss(
        self, x: Tensor, y: Tensor, *lengths: Tensor, reduction: str = "mean"
    ) -> Tensor:
        """Return the loss [] of the model on a batch as Split.batches yields it."""
        logits = self.model(augment(x, self.augment, self.strength), *lengths)
        smoothing = self.params.label_smoothing
        return cross_entropy(logits, y, label_smoothing=smoothing, reduction=reduction)

    def begin_step(self) -> None:
        """Set the learning rate and the strength of augmentation of the step to come."""
        taken, steps = self.taken(), self.params.epochs * self.steps
        self.strength.fill_(strength_at(self.augment, taken, steps))
        self.optimizer.set_lr(learning_rate(self.params, taken, steps))

    def move(self) -> None:
        """Move the weights by their gradients, of a norm of at most ``train.clip``."""
        if self.params.clip:
            clip_grad_norm_(self.model.parameters(), self.params.clip)
        self.optimizer.step()

    def end_step(self, loss: Tensor) -> None:
        """Keep the ``loss`` [] of the step that was taken, and average the weights."""
        self.losses.append(loss)
        if self.ema_model is not self.model:
            update_ema(self.ema_model, self.model, self.params.ema, self.taken())

    def mean_loss(self, n: int) -> float:
        """Return the mean loss over the epoch's ``n`` examples, once all are learnt."""
        self.check()
        sizes = torch.full((len(self.losses),), self.params.batch_size)
        sizes[-1] = n - sizes[:-1].sum()
        losses = torch.stack(self.losses).double().cpu()
        return (losses @ sizes.double()).item() / n

    def evaluate(self, name: str, split: Split) -> Generator[None, None, Score]:
        """Score ``ema_model`` on ``split``, batch by batch, yielding between them."""
        found = self.logits[name]
        for logits in self.workers.logits(self.ema_model, split, sum(map(len, found))):
            found.append(logits)
            yield None
        result = score(torch.cat(found), split.labels)
        if not math.isfinite(result.loss):
            raise self._diverged(f"evaluation: the {name} loss is {result.loss}")
        return result

    def end_epoch(self, row: Row) -> None:
        """Add ``row`` to the history and begin the next epoch."""
        self.history.append(row)
        if self.params.keep == "best" and self.best_epoch() == self.epoch:
            best_model = self.modules["best_model"]
            best_model.load_state_dict(self.ema_model.state_dict())
        self.epoch += 1
        self.order = None
        self.losses = []
        self.logits = {"train": [], "heldout": []}

    def best_epoch(self) -> int:
        """Return the best epoch on the held-out split, the first of several."""
        best = max(self.history, key=lambda row: row["heldout_accuracy"])
        return int(best["epoch"])

    def kept_model(self) -> Model:
        """Return the model to save, which knows its epoch where it is the best one."""
        if self.params.keep == "last":
            return self.ema_model
        self.modules["best_model"].kept = self.best_epoch()
        return self.modules["best_model"]

    def check(self) -> None:
        """Look for what went wrong on the device since the last look.

        Raises:
            UserError: names the step of the epoch whose loss is not finite.
        """
        values = torch.stack(self.losses).tolist() if self.losses else []
        for step, value in enumerate(values, 1):
            if not math.isfinite(value):
                raise self._diverged(f"step {step}: the loss is {value}")
        if not parameters_to_vector(self.model.parameters()).isfinite().all():
            raise self._diverged(f"step {len(values)}: the weights are not finite")

    def _diverged(self, found: str) -> UserError:
        """Return the error of what was ``found``, with what to lower, likeliest first."""
        lower = f"train.lr ({self.params.lr:g})"
        if self.params.optimizer == "muon":
            lower = f"train.muon_lr ({self.params.muon_lr:g}) or {lower}"
        return UserError(
            f"epoch {self.epoch}, {found}: training diverged; lower {lower} in params.yaml"
        )

    def taken(self) -> int:
        """Return how many steps were taken since the first epoch began."""
        return (self.epoch - 1) * self.steps + len(self.losses)

    def hyperparameters(self) -> dict:
        """Return every parameter that the run depends on, by section of params.yaml."""
        sections = {"model": self.model.params, "train": self.params}
        sections |= {"augment": self.augment}
        return {name: params.model_dump() for name, params in sections.items()}

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """Return tensors, and what JSON can say, for :meth:`restore`, if all is finite."""
        self.check()
        tensors: dict[str, Tensor] = {}
        for owner, module in self.modules.items():
            tensors |= {f"{owner}.{name}": v for name, v in module.state_dict().items()}
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
        # A copy: a thread writes it while the run goes on.
        return tensors, {"epoch": self.epoch, "history": list(self.history)}

    def restore(self, tensors: dict[str, Tensor], metadata: dict) -> None:
        """Go back to where :meth:`state` was taken."""
        self.epoch, self.history = metadata["epoch"], list(metadata["history"])
        self.generator.set_state(tensors["generator.order"])
        torch.set_rng_state(tensors["generator.cpu"])
        if "generator.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["generator.cuda"])
        self.order = tensors.get("order")
        self.losses = list(tensors.get("losses", torch.empty(0)).to(self.device).unbind())
        for name in self.logits:
            known = tensors.get(f"logits.{name}")
            self.logits[name] = [] if known is None else [known.to(self.device)]
        for owner, module in self.modules.items():
            names = module.state_dict()
            module.load_state_dict({name: tensors[f"{owner}.{name}"] for name in names})
        for name, values in self.optimizer.state.items():
            for i, value in enumerate(values):
                value.copy_(tensors[f"optimizer.{name}.{i}"])
