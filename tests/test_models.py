"""Every model in models/: what the rest of the project asks of one."""

import re
import sys
from pathlib import Path
from types import ModuleType

import onnxruntime
import pytest
import torch

from defaults import DIGITS, augment_params, model_params, train_params
from mnist_lstm.device import Compute
from mnist_lstm.export.onnx_file import to_onnx
from mnist_lstm.models import base
from mnist_lstm.models.base import Reads, make_model
from mnist_lstm.models.store import load_model, save_model
from mnist_lstm.plumbing.errors import ParamsError, UserError
from mnist_lstm.plumbing.params import check_params
from mnist_lstm.training.loop import fit, start_run

CPU = torch.device("cpu")
MODELS = ("lstm", "gru", "transformer")
every_model = pytest.mark.parametrize("name", MODELS)


def small(name, **changes):
    return model_params(name=name, **({"hdim": 16, "n_head": 2} | changes))


def trained(name, split, precision="fp32", state=None, steps=None, **changes):
    """Train for two epochs, from ``state`` on if given; return the run."""
    train = train_params(epochs=2, batch_size=16, **changes)
    compute = Compute(CPU, precision)
    torch.manual_seed(0)
    run = start_run(small(name, dropout=0.3), train, augment_params(rotation=5), compute)
    if state:
        run.restore(*state)
    for i, _ in enumerate(fit(run, split, split, evaluate_train=False)):
        if steps is not None and i == steps:
            break
    return run


@every_model
def test_every_part_of_it_learns(name, split):
    model = make_model(small(name))
    x = torch.rand(4, 9, 28)
    model(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@every_model
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_reads_any_length_and_no_row_ahead(name, precision):
    model = make_model(small(name), precision).eval()
    x = torch.rand(3, 11, 28)
    with torch.inference_mode():
        logits, read = model(x), model.read(x)
        longer = model.read(torch.cat([x, torch.rand(3, 5, 28)], dim=1))
    assert logits.dtype == torch.float32
    assert (logits.shape, read.shape) == ((3, 10), (3, 11, 10))
    loose = {"atol": 1e-5} if precision == "fp32" else {"atol": 0.02}
    torch.testing.assert_close(read[:, -1], logits, rtol=0, **loose)
    torch.testing.assert_close(longer[:, :11], read, rtol=0, **loose)
    by_default = base.Model.read(model, x)
    torch.testing.assert_close(by_default, read, rtol=0, **loose)


@every_model
def test_bf16_gives_the_logits_and_gradients_of_fp32_but_for_rounding(name):
    x, found = torch.rand(16, 28, 28), []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        model = make_model(small(name, n_layer=2, init="keras"), precision)
        (logits := model(x)).square().sum().backward()
        found.append([logits.detach(), *(p.grad for p in model.parameters())])
    for exact, rounded in zip(*found, strict=True):
        assert 0 < (rounded - exact).norm() / exact.norm() < 0.05


@every_model
def test_onnx_runtime_gives_the_same_logits_at_any_batch_and_length(name):
    model = make_model(small(name)).eval()
    model.reads = Reads(DIGITS, "mnist", 28)
    session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString())
    for n, length in ((1, 1), (3, 28), (2, 50)):
        x = torch.rand(n, length, 28)
        (logits,) = session.run(["logits"], {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), model(x), rtol=0, atol=1e-4)


@every_model
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_that_stops_goes_on_bit_for_bit(name, split, precision, optimizer):
    """With dropout and augmentation, so the generators come back as they were."""
    settings = {"precision": precision, "optimizer": optimizer}
    whole = trained(name, split, **settings)
    state = trained(name, split, steps=2, **settings).state()
    torch.manual_seed(99)
    resumed = trained(name, split, state=state, **settings)
    for ours, theirs in zip(
        resumed.model.state_dict().values(), whole.model.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


@every_model
def test_its_file_brings_it_back_and_no_other_takes_it(name, tmp_path):
    model = make_model(small(name))
    save_model(model, tmp_path / "x", Reads(DIGITS, "mnist", 28))
    loaded = load_model(tmp_path / "x", small(name))
    x = torch.rand(2, 28, 28)
    assert torch.equal(loaded(x), model.eval()(x))
    other = MODELS[MODELS.index(name) - 1]
    with pytest.raises(UserError, match=r"x: holds a model of .*asks for .*`dvc repro`"):
        load_model(tmp_path / "x", small(other))


@every_model
def test_keras_weights_are_drawn_for_it_and_muon_moves_matrices(name):
    torch.manual_seed(0)
    model = make_model(small(name, init="keras"))
    assert {p.ndim for p in model.matrices()} == {2}
    assert model.lin.weight.data_ptr() not in {p.data_ptr() for p in model.matrices()}
    bound = (6 / (16 + 10)) ** 0.5  # of Glorot's uniform distribution
    assert 0.8 * bound < model.lin.weight.abs().max() <= bound


def test_no_other_file_of_the_library_names_them():
    for path in Path("src/mnist_lstm").rglob("*.py"):
        if path.stem not in ("gru", "transformer"):
            assert not re.search(r"\b(gru|transformer)", path.read_text().lower()), path


def test_the_lstm_is_read_in_five_minutes():
    assert len(Path("src/mnist_lstm/models/lstm.py").read_text().splitlines()) <= 140


def test_a_name_that_is_no_file_is_refused_with_those_that_are():
    values = {"model": small("lstm").model_dump() | {"name": "grru"}}
    with pytest.raises(ParamsError) as caught:
        check_params(values, "params.yaml")
    line = next(line for line in str(caught.value).splitlines() if "model.name" in line)
    assert line.endswith(
        "model.name must be a file in src/mnist_lstm/models (gru, lstm, transformer), "
        "got 'grru'"
    )


@pytest.mark.parametrize(("n", "found"), [(0, "none"), (2, "A, B")])
def test_a_file_defines_one_model(monkeypatch, n, found):
    module = ModuleType("mnist_lstm.models.mine")
    for name in "AB"[:n]:
        made = type(name, (base.Model,), {"__module__": module.__name__})
        setattr(module, name, made)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(UserError, match=rf"/mine.py: expected .* of Model, found {found}$"):
        make_model(small("lstm").model_copy(update={"name": "mine"}))


def test_heads_must_share_the_width():
    with pytest.raises(ParamsError, match=r"hdim must be an even multiple of model.n_h"):
        make_model(small("transformer", hdim=15))
