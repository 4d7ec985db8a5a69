import pytest
import torch

from defaults import model_params, train_params
from mnist_lstm.model import LSTMClassifier
from mnist_lstm.training.muon import Muon, make_optimizer, orthogonalize
from mnist_lstm.training.optimizer import AdamW

SHAPES = [(12, 256, 256), (4, 256, 28), (3, 28, 256), (2, 8, 1), (1, 1, 1)]
BOTH = [torch.float32, torch.bfloat16]


def singular_values(x):
    return torch.linalg.svdvals(x.double())


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_come_near_1_and_singular_vectors_stay(shape, dtype):
    n, rows, columns = shape
    size = min(rows, columns)
    torch.manual_seed(0)
    u = torch.linalg.qr(torch.randn(n, rows, size))[0]
    v = torch.linalg.qr(torch.randn(n, columns, size))[0]
    spread = torch.logspace(-0.5, 1, size)  # 30 between the least and the largest
    found = orthogonalize((u * spread) @ v.mT, dtype)
    assert found.dtype == torch.float32
    values = singular_values(found)
    assert 0.6 < values.min() <= values.max() < 1.3
    turned = u.mT @ found @ v  # diagonal where the vectors are the same
    off = turned - torch.diag_embed(turned.diagonal(dim1=1, dim2=2))
    assert off.abs().max() < {torch.float32: 1e-4, torch.bfloat16: 0.05}[dtype]


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_each_matrix_is_orthogonalized_as_by_pytorch(shape):
    """Its iterations are those of bfloat16, too, but not batched."""
    from torch.optim._muon import _zeropower_via_newtonschulz as theirs

    torch.manual_seed(0)
    x = torch.randn(shape)
    expected = [theirs(m, (3.4445, -4.7750, 2.0315), 5, 1e-7).float() for m in x]
    apart = orthogonalize(x, torch.bfloat16) - torch.stack(expected)
    assert apart.norm() < 0.02 * torch.stack(expected).norm()


@pytest.mark.parametrize("dtype", BOTH)
def test_a_matrix_of_zeros_stays_zero(dtype):
    """The gradient of a layer that nothing reaches."""
    assert not orthogonalize(torch.zeros(2, 5, 3), dtype).any()


def test_in_bf16_the_bits_do_not_depend_on_the_number_of_threads():
    torch.manual_seed(0)
    x = torch.randn(SHAPES[0])
    found = []
    for n in (1, 2, 3):
        torch.set_num_threads(n)
        found.append(orthogonalize(x, torch.bfloat16))
    torch.set_num_threads(1)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def steps(optimizer, model, rates=(0.01, 0.01, 0.003)):
    """Take steps along gradients that are the same for each caller."""
    generator = torch.Generator().manual_seed(0)
    for lr in rates:
        optimizer.set_lr(lr)
        optimizer.zero_grad()
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.step()


def twins(precision="fp32"):
    ours, theirs = (LSTMClassifier(model_params(hdim=16), precision) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def test_a_step_is_pytorchs_gate_by_gate():
    """Its Muon on each gate's block as a matrix of its own, with the same settings."""
    params = train_params(
        optimizer="muon", lr=0.01, muon_lr=0.05, momentum=0.8, weight_decay=0.1
    )
    ours, theirs = twins("bf16")
    blocks = {
        name: [torch.nn.Parameter(block.clone()) for block in p.chunk(4)]
        for name, p in theirs.rnn.named_parameters()
        if "weight" in name
    }
    library = torch.optim.Muon(
        [block for gates in blocks.values() for block in gates],
        lr=0.05,
        momentum=0.8,
        weight_decay=0.1,
        adjust_lr_fn="original",
    )

    class Library:
        def set_lr(self, lr):
            library.param_groups[0]["lr"] = 5 * lr

        def zero_grad(self):
            pass

        def step(self):
            for name, p in theirs.rnn.named_parameters():
                for block, grad in zip(
                    blocks.get(name, []), p.grad.chunk(4), strict=name in blocks
                ):
                    block.grad = grad.contiguous()
            library.step()

    before = {name: p.detach().clone() for name, p in ours.rnn.named_parameters()}
    steps(make_optimizer(ours, params), ours)
    steps(Library(), theirs)
    after = dict(ours.rnn.named_parameters())
    for name, gates in blocks.items():
        moved = after[name] - before[name]
        apart = after[name] - torch.cat(gates)
        assert apart.norm() < 0.02 * moved.norm()


def test_biases_and_the_last_layer_have_the_bits_of_adamw():
    params = train_params(
        optimizer="muon", lr=0.01, muon_lr=0.05, beta2=0.95, weight_decay=0.1
    )
    ours, theirs = twins()
    steps(make_optimizer(ours, params), ours)
    steps(AdamW(theirs.parameters(), params), theirs)
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b) == ("rnn.weight" not in name)


def test_all_gradients_are_clipped_as_one():
    params = train_params(optimizer="muon", clip=1.0)
    ours, _ = twins()
    steps(make_optimizer(ours, params), ours, [0.01])
    norm = torch.cat([p.grad.flatten() for p in ours.parameters()]).norm()
    assert norm.item() == pytest.approx(1, rel=1e-4)


def test_both_learning_rates_rise_and_fall_together():
    """A step moves a square block by the learning rate times an orthogonal matrix."""
    params = train_params(optimizer="muon", lr=0.01, muon_lr=0.05, weight_decay=0)
    for share in (1, 0.5, 0):
        ours, before = twins()
        steps(make_optimizer(ours, params), ours, [0.01 * share])
        moved = (before.rnn.weight_hh_l0 - ours.rnn.weight_hh_l0)[:16]
        values = singular_values(moved.detach())
        assert values.mean().item() == pytest.approx(0.05 * share, rel=0.15)


def test_the_default_is_adamw():
    ours, _ = twins()
    assert isinstance(make_optimizer(ours, train_params()), AdamW)
    assert isinstance(make_optimizer(ours, train_params(optimizer="muon")), Muon)
