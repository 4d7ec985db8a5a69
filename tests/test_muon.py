import pytest
import torch

from defaults import model_params, train_params
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.training import muon
from mnist_lstm.training.muon import make_optimizer, orthogonalize
from mnist_lstm.training.optimizer import AdamW

CONVERGING = (1.875, -1.25, 0.375)  # to 1 where iterations are many


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 1024, 256), (3, 28, 256), (1, 1, 1)])
def test_singular_values_come_near_1_and_singular_vectors_stay(shape, dtype):
    n, rows, columns = shape
    size = min(rows, columns)
    torch.manual_seed(0)
    u = torch.linalg.qr(torch.randn(n, rows, size))[0]
    v = torch.linalg.qr(torch.randn(n, columns, size))[0]
    spread = torch.logspace(-0.5, 1, size)  # 30 between the least and the largest
    found = orthogonalize((u * spread) @ v.mT, dtype)
    assert found.dtype == torch.float32
    # the gradient of a layer that nothing reaches
    assert not orthogonalize(torch.zeros(shape), dtype).any()
    values = torch.linalg.svdvals(found.double())
    assert 0.67 < values.min() <= values.max() < 1.36
    turned = u.mT @ found @ v  # diagonal where the vectors are the same
    off = turned - torch.diag_embed(turned.diagonal(dim1=1, dim2=2))
    wide = min(rows, columns) > 128  # all others are orthogonalized in float32
    assert off.abs().max() < (1e-4 if dtype is torch.float32 else 0.1 if wide else 0.15)


def steps(optimizer, model):
    """Take steps along gradients that are the same for each caller."""
    generator = torch.Generator().manual_seed(0)
    for lr in (0.01, 0.01, 0.003):
        optimizer.set_lr(lr)
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.step()


def twins(precision="fp32"):
    ours, theirs = (LSTMClassifier(model_params(hdim=16), precision) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_is_pytorchs(precision, monkeypatch):
    monkeypatch.setattr(muon, "_FIRST", (CONVERGING,) * 6)
    monkeypatch.setattr(muon, "_SECOND", (CONVERGING,) * 6)
    params = train_params(
        optimizer="muon", lr=0.01, muon_lr=0.05, momentum=0.8, weight_decay=0.1
    )
    ours, theirs = twins(precision)
    before = [p.detach().clone() for p in ours.rnn.parameters()]
    library = torch.optim.Muon(
        [p for p in theirs.rnn.parameters() if p.ndim == 2],
        lr=0.05,
        momentum=0.8,
        weight_decay=0.1,
        adjust_lr_fn="original",
        ns_coefficients=CONVERGING,
        ns_steps=12,
    )
    library.set_lr = lambda lr: library.param_groups[0].update(lr=5 * lr)
    steps(make_optimizer(ours, params), ours)
    steps(library, theirs)
    pairs = zip(ours.rnn.parameters(), theirs.rnn.parameters(), before, strict=True)
    for a, b, old in pairs:
        if a.ndim == 2:
            assert (a - b).norm() < 0.06 * (a - old).norm() > 0


def test_biases_and_the_last_layer_have_the_bits_of_adamw():
    params = train_params(
        optimizer="muon", lr=0.01, muon_lr=0.05, beta2=0.95, weight_decay=0.1
    )
    ours, theirs = twins()
    steps(make_optimizer(ours, params), ours)
    steps(AdamW(theirs.parameters(), params), theirs)
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b) == ("rnn.weight" not in name)
