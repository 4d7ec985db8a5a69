import re

import pytest
import torch

from mnist_lstm import device, evaluation, training
from mnist_lstm.model import LSTMClassifier
from mnist_lstm.params import AugmentParams, TrainParams
from mnist_lstm.training import DivergedError
from project import ALL_ON, DEFAULT

SIZES = {"xdim": 28, "hdim": 32, "ydim": 10, "n_layer": 1}


def settings(**changes):
    default = {
        "epochs": 3,
        "batch_size": 16,
        "lr": 1e-2,
        "device": "cpu",
        "precision": "fp32",
    }
    return TrainParams(**(DEFAULT["train"] | default | changes))


def train(split, **changes):
    run = started(settings(**changes))
    return run.model, list(training.fit(run, split, split))


def started(params, on="cpu", augment=DEFAULT["augment"], **sizes):
    device.make_deterministic(params.seed)
    classifier = LSTMClassifier(**(SIZES | sizes)).to(on)
    return training.Run(classifier, params, AugmentParams(**augment))


def test_it_learns(split):
    _, rows = train(split, epochs=40)
    assert [row["epoch"] for row in rows] == list(range(41))
    assert rows[0]["train_loss"] == pytest.approx(2.3, abs=0.1)  # ln 10: it knows nothing
    assert rows[0]["heldout_accuracy"] <= 0.3
    assert rows[-1]["train_loss"] < 0.1
    assert rows[-1]["heldout_accuracy"] == 1.0


def test_the_last_row_is_what_the_model_is_worth(split):
    classifier, rows = train(split)
    score = evaluation.score(evaluation.logits(classifier, split), split.labels)
    assert rows[-1]["heldout_accuracy"] == rows[-1]["train_accuracy"] == score.accuracy
    assert rows[-1]["heldout_loss"] == score.loss


def test_a_step_is_adams(split):
    """One epoch of one batch moves the weights as PyTorch's Adam does by hand."""
    classifier, _ = train(split, epochs=1, batch_size=100)
    torch.manual_seed(0)
    by_hand = LSTMClassifier(**SIZES)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=1e-2)
    loss = torch.nn.CrossEntropyLoss()(by_hand(split.images.float() / 255), split.labels)
    loss.backward()
    optimizer.step()
    for ours, theirs in zip(classifier.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_what_is_judged_and_kept_is_the_average_of_the_weights(split):
    run = started(settings(ema=0.9))
    rows = list(training.fit(run, split, split))
    score = evaluation.score(evaluation.logits(run.averaged, split), split.labels)
    assert rows[-1]["heldout_loss"] == score.loss
    assert not torch.equal(run.averaged.lin.weight, run.model.lin.weight)
    plain = started(settings())
    list(training.fit(plain, split, split))  # the average changes nothing in how it learns
    assert torch.equal(plain.model.lin.weight, run.model.lin.weight)


def test_label_smoothing_keeps_the_logits_small(split):
    losses = {}
    for smoothing in (0.0, 0.2):
        _, rows = train(split, epochs=40, label_smoothing=smoothing)
        losses[smoothing] = rows[-1]["heldout_loss"]
        assert rows[-1]["heldout_accuracy"] == 1.0
    assert losses[0.0] < 0.1 < losses[0.2] < 0.6


def test_one_cycle_spans_all_epochs(split, monkeypatch):
    run = started(settings(schedule="one_cycle", warmup=0.5))
    rates = []
    set_lr = run.optimizer.set_lr
    monkeypatch.setattr(run.optimizer, "set_lr", lambda lr: (rates.append(lr), set_lr(lr)))
    list(training.fit(run, split, split))
    assert len(rates) == 3 * 4
    assert rates.index(max(rates)) == 5
    assert rates[-1] == pytest.approx(0)


def test_augmentation_is_for_what_is_learnt_from_alone(split):
    """Nothing moves the weights here: only what is bent is seen to differ."""
    run = started(
        settings(epochs=1, lr=1e-12), augment=DEFAULT["augment"] | {"shift": 0.99}
    )
    untrained, row = training.fit(run, split, split)
    assert row["heldout_loss"] == pytest.approx(untrained["heldout_loss"], abs=1e-5)
    assert abs(row["train_loss"] - untrained["train_loss"]) > 1e-3


def test_the_loss_is_the_mean_over_the_images(split):
    """A learning rate too small to matter leaves the untrained loss, odd batch and all."""
    _, rows = train(split, epochs=1, batch_size=25, lr=1e-12)
    assert rows[1]["train_loss"] == pytest.approx(rows[0]["train_loss"], abs=1e-5)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(split):
    first, rows = train(split)
    second, same_rows = train(split)
    other, other_rows = train(split, seed=1)
    assert rows == same_rows != other_rows
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.lin.weight, other.lin.weight)


def test_what_is_held_out_is_never_learnt_from(split):
    blank = split.take(torch.arange(10))
    blank.images.zero_()
    weights = []
    for heldout in (split, blank):
        run = started(settings())
        list(training.fit(run, split, heldout))
        weights.append(run.model.lin.weight)
    assert torch.equal(*weights)


@pytest.mark.parametrize("lr", [1e36, 9e36])
def test_a_run_that_diverges_stops_with_the_step_and_advice(split, lr):
    run = started(settings(lr=lr))
    with pytest.raises(DivergedError) as caught:
        list(training.fit(run, split, split))
    assert re.fullmatch(
        r"epoch [12], step \d: the (loss is (nan|inf)|weights are not finite): training "
        rf"diverged at learning rate {re.escape(f'{lr:g}')}; lower train.lr in params.yaml",
        str(caught.value),
    )


def test_the_step_that_is_named_is_the_first_whose_loss_is_not_finite(split):
    run = started(settings())

    def break_before_the_third_step():
        if run.place == "epoch 2, step 2":
            run.model.lin.bias.data.fill_(torch.nan)

    with pytest.raises(DivergedError, match=r"^epoch 2, step 3: the loss is nan: "):
        list(training.fit(run, split, split, break_before_the_third_step))


def test_weights_that_are_not_finite_are_never_saved(split):
    """The last step may break them though its own loss was finite."""
    run = started(settings())
    run.model.lin.bias.data[0] = torch.inf
    with pytest.raises(
        DivergedError, match=r"^epoch 0, step 0: the weights are not finite"
    ):
        run.state()


def test_a_row_is_a_line_of_80_columns():
    row = {
        "epoch": 100,
        "train_loss": 12.3456,
        "train_accuracy": 1.0,
        "heldout_loss": 1.0,
        "heldout_accuracy": 0.98765,
    }
    line = training.sentence(row, "valid")
    assert line == "epoch 100  loss 12.346  train accuracy 1.000  valid accuracy 0.988"
    assert len(line) <= 80


def test_a_terminal_shows_a_bar_with_loss_and_images_a_second(split, terminal):
    shown = terminal()
    train(split, epochs=1)
    bar = shown.getvalue()
    assert "epoch 1/1" in bar
    assert " images/s, loss 2." in bar
    assert "60.0/60.0" in bar
    assert bar.endswith("\r")  # it leaves no trace


@pytest.mark.cuda
@pytest.mark.parametrize(("hdim", "n_layer"), [(32, 1), (256, 2)])
def test_on_cuda_the_same_seed_gives_the_same_bits(split, hdim, n_layer):
    """For both of cuDNN's ways: with and without a persistent kernel."""
    on = device.select("cuda")
    many = split.take(torch.arange(1024) % 60).to(on)
    runs = []
    for _ in range(2):
        params = settings(device="cuda", batch_size=256)
        run = started(params, on, hdim=hdim, n_layer=n_layer)
        list(training.fit(run, many, many))
        runs.append(list(run.model.parameters()))
    for a, b in zip(*runs, strict=True):
        assert torch.equal(a, b)


@pytest.mark.cuda
def test_on_cuda_an_epoch_gives_what_the_cpu_gives(split, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    rows = {}
    for name in ("cpu", "cuda"):
        on = device.select(name)
        run = started(settings(epochs=1, device=name), on)
        rows[name] = list(training.fit(run, split.to(on), split.to(on)))
    assert rows["cuda"][1]["train_loss"] == pytest.approx(
        rows["cpu"][1]["train_loss"], rel=1e-3
    )


@pytest.mark.cuda
@pytest.mark.parametrize(("hdim", "n_layer"), [(32, 1), (256, 2)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("changes", [{}, ALL_ON], ids=["plain", "all on"])
def test_on_cuda_a_graph_takes_the_very_steps(
    split, hdim, n_layer, precision, changes, capsys
):
    """Bit for bit, an odd last batch included; else a resumed run would go another way."""
    on = device.select("cuda")
    many = split.take(torch.arange(1000) % 60).to(on)
    ends = []
    for graphed in (True, False):
        params = settings(device="cuda", batch_size=128, **changes.get("train", {}))
        sizes = {"hdim": hdim, "n_layer": n_layer} | changes.get("model", {})
        augment = DEFAULT["augment"] | changes.get("augment", {})
        run = started(params, on, augment, precision=precision, **sizes)
        if not graphed:
            run.step = run.take_step
        list(training.fit(run, many, many))
        assert (getattr(run.step, "graph", None) is not None) == graphed
        ends.append([*run.model.parameters(), torch.tensor(run.history[-1]["train_loss"])])
    assert capsys.readouterr().err == ""  # no capture failed
    for a, b in zip(*ends, strict=True):
        assert torch.equal(a, b)


@pytest.mark.cuda
def test_on_cuda_no_step_waits_for_the_device(split, terminal):
    on = device.select("cuda")
    run = started(settings(), on)
    run.epoch = 1
    run.order = torch.arange(60, device=on)
    data = split.to(on)
    steps = []
    shown = terminal()
    torch.cuda.set_sync_debug_mode("error")
    try:
        # The one wait is for the epoch's losses, when all steps are taken.
        with pytest.raises(RuntimeError, match="synchroniz"):
            training.train_epoch(run, data, lambda: steps.append(run.place))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(steps) == 4
    assert "images/s" in shown.getvalue()  # with the bar drawn
