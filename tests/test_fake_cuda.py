"""What runs on CUDA, run on tensors that only say that they lie there: no GPU is needed.

It shows that no tensor is left on the CPU and that nothing waits for the device, nor copies
to or from it, between an epoch's first step and its last. It cannot show what cuDNN, the
fused optimizer, autograd's own kernels and a CUDA graph do: these are replaced by PyTorch's
plain LSTM cell and by stubs, and are left to the tests that are marked `cuda`.
"""

import functools
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from defaults import ALL_ON, DIGITS, augment_params, model_params, train_params
from mnist_lstm.data.splits import Split
from mnist_lstm.evaluation import compute_logits, score
from mnist_lstm.models import lstm as model_module
from mnist_lstm.models.base import make_model
from mnist_lstm.training import augmentation, cudagraph, optimizer
from mnist_lstm.training.cudagraph import GraphedStep
from mnist_lstm.training.loop import Run, fit, train_step

CUDA = torch.device("cuda", 0)
NOTHING = {"model": {}, "train": {}, "augment": {}}

ADAMW = ALL_ON | {"train": ALL_ON["train"] | {"optimizer": "adamw"}}
SHARDED = ALL_ON | {"train": ALL_ON["train"] | {"shards": 4}}
GRU, TRANSFORMER = (
    ALL_ON | {"model": ALL_ON["model"] | {"name": name}} for name in ("gru", "transformer")
)


class OnDevice(TorchDispatchMode):
    """Refuses every operation that touches a tensor on the CPU; counts the others."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        tensors = [
            leaf
            for leaf in tree_leaves((args, kwargs, result))
            if isinstance(leaf, torch.Tensor)
        ]
        assert {t.device.type for t in tensors} <= {"cuda"}, operation
        self.calls.append((str(operation), [t.dtype for t in tensors]))
        return result


@pytest.fixture
def fake(monkeypatch):
    """A mode in which CUDA is there, and all that only a GPU can do is stubbed."""

    def backward(loss):
        for values in run_of.run.model.parameters():
            values.grad = torch.empty_like(values)

    def adamw(*lists, lr, **_):
        tensors = [lr, *(values for values in lists for values in values)]
        assert all(values.is_cuda for values in tensors)

    run_of = SimpleNamespace(run=None)
    monkeypatch.setattr(torch.Tensor, "backward", backward)
    monkeypatch.setattr(optimizer, "adamw", adamw)
    augmentation._bicubic.cache_clear()
    with torch.backends.cudnn.flags(enabled=False), FakeTensorMode():
        yield run_of
    augmentation._bicubic.cache_clear()


def started(fake, changes, precision):
    sizes = model_params(**({"hdim": 16} | changes["model"]))
    with CUDA:
        model, ema_model = (make_model(sizes, precision) for _ in range(2))
    params = train_params(batch_size=16, device="cuda", **changes["train"])
    run = Run(model, params, augment_params(**changes["augment"]))
    if params.ema:  # a deep copy of a fake tensor belongs to another mode
        run.ema_model = ema_model
    if params.shards > 1:
        assert isinstance(run.step.gradient, GraphedStep)
        run.step.gradient = run.step._gradient
    else:
        assert isinstance(run.step, GraphedStep)
        run.step = functools.partial(train_step, run)
    fake.run = run
    return run


def digits(n):
    images = torch.zeros(n, 28, 28, dtype=torch.uint8, device=CUDA)
    return Split(images, torch.zeros(n, dtype=torch.int64, device=CUDA), DIGITS)


@pytest.mark.parametrize(
    ("changes", "precision"),
    [
        *[(NOTHING, "fp32"), (ALL_ON, "bf16"), (ADAMW, "fp32")],
        *[(SHARDED, "bf16"), (GRU, "bf16"), (TRANSFORMER, "fp32")],
    ],
    ids=["plain", "all on", "adamw", "shards", "gru", "transformer"],
)
def test_an_epoch_leaves_the_device_only_when_all_its_steps_are_taken(
    fake, changes, precision
):
    run = started(fake, changes, precision)
    data = digits(60)
    run.epoch, run.order = 1, torch.zeros(60, dtype=torch.int64, device=CUDA)
    if changes["augment"]:  # its constants are copied to the device, once
        augmentation._bicubic(28, CUDA)
    steps = []
    # the epoch's losses are read: the one wait
    with OnDevice() as seen, pytest.raises(DataDependentOutputException):
        steps.extend(run.position for _ in fit(run, data, data))
    assert len(steps) == 4
    if "name" in changes["model"]:
        return  # no LSTM
    cells = [types[0] for name, types in seen.calls if "lstm_cell" in name]
    assert set(cells) == {torch.bfloat16 if precision == "bf16" else torch.float32}


def test_evaluation_leaves_the_device_only_with_its_two_numbers(fake):
    run = started(fake, NOTHING, "bf16")
    data = digits(5000)
    with OnDevice():
        logits = compute_logits(run.model, data)
        with pytest.raises(DataDependentOutputException):
            score(logits, data.labels)


def test_weights_in_bf16_lie_as_cudnn_lays_them_and_pass_gradients_on():
    """In one piece, or cuDNN copies them in each step: matrices first, then biases."""
    lstm = torch.nn.LSTM(28, 16, 3)
    packed = model_module._pack(lstm.all_weights, torch.bfloat16)
    plain = [values for layer in lstm.all_weights for values in layer]
    assert len({values.untyped_storage().data_ptr() for values in packed}) == 1
    ends = 0
    for i in sorted(range(len(plain)), key=lambda i: i % 4 >= 2):
        assert packed[i].storage_offset() == ends
        assert packed[i].is_contiguous()
        assert torch.equal(packed[i], plain[i].bfloat16())
        ends += packed[i].numel()
    sum((k * values.float()).sum() for k, values in enumerate(packed)).backward()
    for k, values in enumerate(plain):
        assert values.grad.dtype == torch.float32
        assert values.grad.unique().tolist() == [k]


class Recorder(GraphedStep):
    """Captures and replays nothing, and tells how each step was taken."""

    def __init__(self):
        super().__init__(lambda x: self.took.append(("step", len(x))))
        self.took = []

    def _beside(self, batch):
        self.took.append(("warm-up", len(batch[0])))

    def _capture(self, batch):
        replay = functools.partial(self.took.append, ("replay", len(batch[0])))
        graph = SimpleNamespace(replay=replay)
        self.graphs[batch[0].shape] = batch, torch.tensor(0.0), graph
        return True

    def kinds(self, sizes):
        """Take steps on batches of these sizes; return how, by size."""
        for size in sizes:
            self(torch.zeros(size, 1, 1))
        return {n: [kind for kind, size in self.took if size == n] for n in sizes}


@pytest.mark.parametrize(("full", "last"), [([256], [96]), ([64] * 4, [13, 14])])
def test_every_size_that_recurs_gets_a_graph_of_its_own(full, last):
    """In whatever shards; a run may resume on an epoch's last, smaller batch."""
    for kinds in Recorder().kinds(last + (full * 5 + last) * 4).values():
        assert kinds[:4] == ["warm-up"] * 3 + ["replay"]
        assert set(kinds[4:]) == {"replay"}


def test_where_the_capture_fails_every_step_is_taken_as_it_comes(monkeypatch, capsys):
    def refuse(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(Recorder, "_capture", GraphedStep._capture)
    monkeypatch.setattr(cudagraph.torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(cudagraph.torch.cuda, "graph", refuse)
    kinds = Recorder().kinds([256] * 5 + [96] * 5)
    assert kinds == dict.fromkeys((256, 96), ["warm-up"] * 3 + ["step"] * 2)
    assert capsys.readouterr().err == (
        "warning: no CUDA graph, steps are slower: operation not permitted when stream is "
        "capturing\n"
    )
