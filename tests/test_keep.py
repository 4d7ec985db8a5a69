"""``train.keep: best`` saves the weights of the best epoch on the validation split."""

import json
import re

import pytest
import torch

from defaults import augment_params, model_params, train_params
from mnist_lstm.device import Compute
from mnist_lstm.evaluation import compute_logits, score
from mnist_lstm.training.loop import fit, start_run

N_EPOCH = 6


def trained(split, keep, ema):
    """Train with an accuracy that goes up and down; return the run and its rows."""
    params = train_params(epochs=N_EPOCH, batch_size=16, lr=0.03, keep=keep, ema=ema)
    torch.manual_seed(0)
    cpu = Compute(torch.device("cpu"), "fp32")
    run = start_run(model_params(hdim=8, n_layer=1), params, augment_params(), cpu)
    return run, [row for row in fit(run, split, split) if row]


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_best_epoch_is_kept_and_training_goes_on_as_without(split, ema):
    best, rows = trained(split, "best", ema)
    last, same_rows = trained(split, "last", ema)
    assert rows == same_rows
    found = [row["heldout_accuracy"] for row in rows]
    epoch = found.index(max(found))
    assert 0 < epoch < N_EPOCH  # else this shows nothing
    kept = best.kept_model()
    assert (kept.kept, best.best_epoch()) == (epoch, epoch)
    assert score(compute_logits(kept, split), split.labels).accuracy == max(found)
    assert last.kept_model() is last.ema_model


@pytest.mark.long
def test_history_figure_and_card_name_the_epoch_and_the_test_set_never_chooses(copy):
    copy.set_params({"train": {"keep": "best"}})
    output = copy.run("python", "stages/train.py", ok=False, PYTHONPATH="src")
    assert output.splitlines()[-1] == (
        "error: params.yaml: train.keep is best, but there is no validation split to "
        "choose by; set prepare.valid_size, or train.keep: last"
    )
    copy.set_params({"prepare": {"valid_size": 200}, "train": {"keep": "best"}})
    copy.dvc("repro", "train", "evaluate", "export")
    table = copy.table("plots/history.csv")
    (kept,) = table.epoch[table.kept == 1]
    best = table.heldout_accuracy.max()
    assert table.heldout_accuracy[kept] == best
    valid = json.loads(copy.text("metrics/evaluate.json"))["valid"]
    assert valid["accuracy"] == pytest.approx(best, abs=1e-6)
    card = re.sub(r"\s+", " ", copy.text("models/README.md"))
    assert f"epoch {kept}, the best on the validation split." in card
