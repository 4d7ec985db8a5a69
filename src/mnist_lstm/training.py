"""The training loop."""

import sys
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Adam, Optimizer
from tqdm import tqdm

from mnist_lstm.evaluation import logits, score
from mnist_lstm.params import ModelParams, TrainParams, misfit
from mnist_lstm.tensors import Split


def check_fit(params: ModelParams, split: Split) -> None:
    """Refuse a model that cannot read the images or tell the classes of ``split``.

    Raises:
        ParamsError: names ``model.xdim`` or ``model.ydim`` and the size that fits.
    """
    q = split.images.shape[2]
    if params.xdim != q:
        raise misfit("model.xdim", f"{q}, the width of the images", params.xdim)
    if params.ydim != split.n_class:
        raise misfit("model.ydim", f"{split.n_class}, the number of classes", params.ydim)


def fit(
    model: nn.Module, train: Split, heldout: Split, params: TrainParams
) -> Iterator[dict[str, float]]:
    """Train ``model`` in place; yield a row for the untrained model and for each epoch.

    Args:
        model: on the device of the splits.
        train: what it learns from, in a new order each epoch.
        heldout: what it is judged by after each epoch, and never learns from.
        params: epochs, batch size, learning rate and seed.

    Yields:
        ``epoch`` (0: untrained), ``train_loss`` (in nats; the mean over the epoch's images
        as they were learnt from, or of the untrained model), and at the epoch's end
        ``train_accuracy``, ``heldout_loss`` and ``heldout_accuracy``.
    """
    optimizer = Adam(model.parameters(), lr=params.lr)
    generator = torch.Generator().manual_seed(params.seed)
    yield {"epoch": 0} | _judge(model, train, heldout)
    for epoch in range(1, params.epochs + 1):
        order = torch.randperm(len(train), generator=generator)
        batches = train.batches(params.batch_size, order)
        with Progress(len(train), f"epoch {epoch}/{params.epochs}") as progress:
            loss = train_epoch(model, batches, optimizer, progress)
            row = {"epoch": epoch} | _judge(model, train, heldout) | {"train_loss": loss}
        yield row


def sentence(row: dict[str, float], heldout_name: str) -> str:
    """Return a row of :func:`fit` as a line for the terminal."""
    return (
        f"epoch {row['epoch']:>3}  loss {row['train_loss']:.3f}  "
        f"train accuracy {row['train_accuracy']:.3f}  "
        f"{heldout_name} accuracy {row['heldout_accuracy']:.3f}"
    )


def _judge(model: nn.Module, train: Split, heldout: Split) -> dict[str, float]:
    on_train = score(logits(model, train), train.labels)
    on_heldout = score(logits(model, heldout), heldout.labels)
    return {
        "train_loss": on_train.loss,
        "train_accuracy": on_train.accuracy,
        "heldout_loss": on_heldout.loss,
        "heldout_accuracy": on_heldout.accuracy,
    }


def train_epoch(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    optimizer: Optimizer,
    progress: "Progress",
) -> float:
    """Take a step for each batch (x: [B x L x Q], y: [B]); return the mean loss."""
    model.train()
    total, n = 0, 0
    for x, y in batches:
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(y)  # stays on the device: no waiting in the step
        n += len(y)
        progress.advance(len(y), loss)
    return total.item() / n


class Progress:
    """A bar of images and images/s with the latest loss; none where output is no terminal.

    Reading a loss from a GPU would make the step wait for it. The bar instead asks for a
    copy each time it is drawn, ten times a second, and shows what has come by the next.
    """

    def __init__(self, n: int, title: str):
        self.bar = tqdm(
            total=n,
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
