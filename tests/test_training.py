import re

import pytest
import torch

from defaults import augment_params, model_params, train_params
from mnist_lstm.device import make_deterministic, select_device
from mnist_lstm.evaluation import compute_logits, score
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.training import augmentation, loop
from mnist_lstm.training.loop import Run, fit

SMALL = {"hdim": 32, "n_layer": 1}


def settings(**changes):
    default = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "precision": "fp32"}
    return train_params(**(default | changes))


def rows_of(run, train, heldout):
    """Train to the end; return the rows."""
    return [row for row in fit(run, train, heldout) if row]


def train(split, **changes):
    run = started(settings(**changes))
    return run, rows_of(run, split, split)


def started(params, on="cpu", augment=None):
    make_deterministic(params.seed)
    model = LSTMClassifier(model_params(**SMALL)).to(on)
    return Run(model, params, augment_params(**(augment or {})))


@pytest.mark.parametrize(
    ("changes", "low", "high"),
    [
        ({"epochs": 40, "label_smoothing": 0.2}, 0.2, 0.6),  # the logits stay small
        ({"epochs": 10, "optimizer": "muon"}, 0, 0.5),
    ],
)
def test_it_learns(split, changes, low, high):
    _, rows = train(split, **changes)
    assert [row["epoch"] for row in rows] == list(range(changes["epochs"] + 1))
    assert rows[0]["heldout_loss"] == pytest.approx(2.3, abs=0.1)  # ln 10: it knows nothing
    assert rows[0]["heldout_accuracy"] <= 0.3
    assert low < rows[-1]["heldout_loss"] < high
    assert rows[-1]["heldout_accuracy"] == 1.0


def test_a_step_is_adams(split):
    """One epoch of one batch moves the weights as PyTorch's Adam does by hand."""
    run, _ = train(split, epochs=1, batch_size=100)
    torch.manual_seed(0)
    by_hand = LSTMClassifier(model_params(**SMALL))
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=1e-2)
    loss = torch.nn.CrossEntropyLoss()(by_hand(split.x.float() / 255), split.labels)
    loss.backward()
    optimizer.step()
    for ours, theirs in zip(run.model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_what_is_evaluated_is_the_model_or_the_average_of_its_weights(split):
    runs = []
    for ema in (0.0, 0.9):
        run, rows = train(split, ema=ema)
        found = score(compute_logits(run.ema_model, split), split.labels)
        assert rows[-1]["heldout_accuracy"] == rows[-1]["train_accuracy"] == found.accuracy
        assert rows[-1]["heldout_loss"] == found.loss
        runs.append(run)
    plain, averaged = (run.model.lin.weight for run in runs)
    assert torch.equal(plain, averaged)  # the average changes nothing in how it learns
    assert not torch.equal(runs[1].ema_model.lin.weight, averaged)


def test_an_epoch_of_fewer_images_draws_them_anew(split, monkeypatch):
    """Of 60 images, 40 in batches of 16: three steps. One cycle spans all epochs."""
    run = started(settings(epoch_size=40, schedule="one_cycle", warmup=0.5))
    rates, orders = [], {}
    monkeypatch.setattr(run.optimizer, "set_lr", rates.append)
    for _ in fit(run, split, split):
        if run.order is not None:
            orders[run.epoch] = set(run.order.tolist())
    assert [len(order) for order in orders.values()] == [40, 40, 40]
    assert orders[1] != orders[2]
    assert (len(rates), rates.index(max(rates))) == (9, 4)
    assert rates[-1] == pytest.approx(0)
    # of more images than there are, it takes all
    assert train(split, epoch_size=100)[1] == train(split)[1]


@pytest.mark.parametrize(("size", "norm"), [(30.0, 1.0), (0.001, None)])
def test_all_gradients_are_clipped_as_one_where_they_are_longer(size, norm):
    run = started(settings(clip=1.0, optimizer="muon"))
    for p in run.model.parameters():
        p.grad = torch.full_like(p, size)
    run.move()
    found = torch.cat([p.grad.flatten() for p in run.model.parameters()])
    if norm:
        assert found.norm().item() == pytest.approx(norm, rel=1e-4)
    else:
        assert (found == size).all()


def test_augmentation_is_for_what_is_learnt_from_alone_and_fades(split, monkeypatch):
    """Nothing moves the weights here: only what is augmented is seen to differ.

    The loss is the mean over the images, those of an epoch's last, smaller batch included.
    """
    _, plain = train(split, batch_size=25, lr=1e-12)
    assert plain[1]["train_loss"] == pytest.approx(plain[0]["train_loss"], abs=1e-5)
    shares = []

    def look(x, params, share):
        shares.append(share.item())
        return augmentation.augment(x, params, share)

    monkeypatch.setattr(loop, "augment", look)
    run = started(settings(lr=1e-12), augment={"shift": 0.99, "fade": 0.5})
    untrained, row, *_ = rows_of(run, split, split)
    assert row["heldout_loss"] == pytest.approx(untrained["heldout_loss"], abs=1e-5)
    assert abs(row["train_loss"] - untrained["train_loss"]) > 1e-3
    assert shares == pytest.approx([1] * 7 + [n / 6 for n in (5, 4, 3, 2, 1)])


def test_bits_depend_on_the_seed_and_not_on_what_is_held_out(split):
    first, rows = train(split)
    assert torch.are_deterministic_algorithms_enabled()
    second, same_rows = train(split)
    other, other_rows = train(split, seed=1)
    blank = split.take(torch.arange(10))
    blank.x.zero_()
    unseen = started(settings())
    rows_of(unseen, split, blank)
    assert rows == same_rows != other_rows
    weights = [list(run.model.parameters()) for run in (first, second, unseen)]
    for a, b, c in zip(*weights, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    assert not torch.equal(first.model.lin.weight, other.model.lin.weight)


@pytest.mark.parametrize(
    ("changes", "lower"),
    [
        ({"lr": 1e36}, "train.lr (1e+36)"),
        (
            {"optimizer": "muon", "muon_lr": 1.0, "weight_decay": 1e37 / 2},
            "train.muon_lr (1) or train.lr (0.01)",
        ),
    ],
)
def test_a_run_that_diverges_stops_with_the_step_and_advice(split, changes, lower):
    with pytest.raises(UserError) as caught:
        train(split, **changes)
    assert re.fullmatch(
        r"epoch [12], (step \d: the (loss is (nan|inf)|weights are not finite)|evaluation: "
        rf"the train loss is (nan|inf)): training diverged; lower {re.escape(lower)} in "
        "params.yaml",
        str(caught.value),
    )


def test_the_step_that_is_named_is_the_first_and_nothing_broken_is_saved(split):
    run = started(settings())
    steps = fit(run, split, split)
    while run.position != "epoch 2, step 2":
        next(steps)
    run.model.lin.bias.data.fill_(torch.nan)
    # the last step may break the weights though its own loss was finite
    with pytest.raises(UserError, match=r"^epoch 2, step 2: the weights are not finite: "):
        run.state()
    with pytest.raises(UserError, match=r"^epoch 2, step 3: the loss is nan: "):
        list(steps)


def test_a_terminal_shows_a_bar_with_loss_and_images_a_second(split, terminal):
    shown = terminal()
    train(split, epochs=1)
    bar = shown.getvalue()
    assert "epoch 1/1" in bar
    assert " examples/s, loss 2." in bar
    assert "60.0/60.0" in bar
    assert bar.endswith("\r")  # it leaves no trace


@pytest.mark.cuda
def test_on_cuda_an_epoch_gives_what_the_cpu_gives(split, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    rows = {}
    for name in ("cpu", "cuda"):
        on = select_device(name)
        run = started(settings(epochs=1, device=name), on)
        rows[name] = rows_of(run, split.to(on), split.to(on))
    assert rows["cuda"][1]["train_loss"] == pytest.approx(
        rows["cpu"][1]["train_loss"], rel=1e-3
    )
