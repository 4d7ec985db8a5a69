"""Sequences of several lengths: what stands behind the last real step reaches no result."""

from dataclasses import replace

import pytest
import torch

from defaults import augment_params, model_params, train_params
from mnist_lstm.data.splits import Split, load_split, save_split
from mnist_lstm.device import Compute
from mnist_lstm.evaluation import compute_logits
from mnist_lstm.models.base import make_model
from mnist_lstm.training.loop import fit, start_run

CPU = torch.device("cpu")
SCALING = {"mean": [0.0] * 3, "deviation": [1.0] * 3, "missing": "refuse"}
every_model = pytest.mark.parametrize("name", ["lstm", "gru", "transformer"])


@pytest.fixture
def sequences():
    """40 sequences of 4 to 11 steps of 3 values; the second tells the class."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 11, 3, generator=generator)
    labels = torch.arange(40) % 4
    x[:, :, 1] += labels[:, None]
    lengths = torch.randint(4, 12, (40,), generator=generator)
    split = Split(x, labels, tuple("abcd"), "", lengths=lengths, scaling=SCALING)
    return padded(split, 0.0)


def padded(split, value, more=0):
    """Return ``split`` with ``value`` behind each sequence, ``more`` steps of it."""
    x = torch.nn.functional.pad(split.x, (0, 0, 0, more))
    behind = torch.arange(x.shape[1]) >= split.lengths[:, None]
    return replace(split, x=x.masked_fill(behind[:, :, None], value))


def small(name):
    return model_params(name=name, xdim=3, ydim=4, hdim=16, n_head=2, dropout=0.2)


def trained(name, split, precision="fp32", shards=1, epochs=2):
    torch.manual_seed(0)
    settings = train_params(epochs=epochs, batch_size=16, shards=shards, lr=0.01)
    augment = augment_params(noise=0.1)
    run = start_run(small(name), settings, augment, Compute(CPU, precision))
    for _ in fit(run, split, split):
        pass
    return run


@every_model
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("shards", [1, 4])
def test_other_padding_gives_the_same_losses_accuracies_and_weights(
    name, precision, shards, sequences
):
    run = trained(name, sequences, precision, shards)
    other = trained(name, padded(sequences, 7.5), precision, shards)
    assert run.history == other.history
    weights, others = (r.model.state_dict().values() for r in (run, other))
    assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))


@every_model
def test_how_far_a_batch_is_padded_does_not_matter(name, sequences):
    model = make_model(small(name)).eval()
    logits = compute_logits(model, sequences)
    longer = compute_logits(model, padded(sequences, 7.5, more=9))
    torch.testing.assert_close(logits, longer, rtol=0, atol=1e-6)
    for i in (0, 1, 2):
        x = sequences.x[i : i + 1, : sequences.lengths[i]]
        torch.testing.assert_close(logits[i : i + 1], model(x), rtol=0, atol=1e-5)


def test_it_learns_from_sequences_and_knows_their_last_step(sequences):
    run = trained("lstm", sequences, epochs=12)
    assert run.history[-1]["train_accuracy"] > 0.6
    short = replace(sequences, lengths=sequences.lengths - 1)
    logits, others = (compute_logits(run.model, split) for split in (sequences, short))
    assert (logits != others).any(1).all()


def test_a_split_of_sequences_comes_back_as_it_was_and_moves_with_its_lengths(
    sequences, tmp_path
):
    path = tmp_path / "x.safetensors"
    save_split(sequences, path)
    loaded = load_split(path, small("lstm"))
    assert torch.equal(loaded.x, sequences.x)
    assert loaded.scaling == SCALING
    order = torch.tensor([3, 0, 5])
    ((x, y, lengths),) = loaded.take(order).batches(9)
    assert torch.equal(x, sequences.x[order])
    assert y.tolist() == [3, 0, 1]
    assert torch.equal(lengths, sequences.lengths[order])
