"""Every model in models/: what the rest of the project asks of one."""

import copy
import pickle
import re
import sys
from pathlib import Path
from types import ModuleType

import onnxruntime
import pytest
import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic

from defaults import DIGITS, augment_params, model_params, train_params
from mnist_lstm.data.splits import save_split
from mnist_lstm.device import Compute
from mnist_lstm.export.onnx_file import to_onnx
from mnist_lstm.models import base
from mnist_lstm.models.base import Reads, make_model
from mnist_lstm.models.store import load_model, save_model
from mnist_lstm.plumbing.errors import ParamsError, TensorFileError, UserError
from mnist_lstm.plumbing.params import check_params
from mnist_lstm.training.loop import fit, start_run

READS = Reads(DIGITS, "mnist", 28)
MODELS = ("lstm", "gru", "transformer")
every_model = pytest.mark.parametrize("name", MODELS)


def small(name, **changes):
    return model_params(name=name, **({"hdim": 16, "n_head": 2} | changes))


def make(name="lstm", precision="fp32", **changes):
    torch.manual_seed(0)
    return make_model(small(name, **changes), precision)


def trained(name, split, precision, optimizer, state=None, steps=None):
    """Train for two epochs, from ``state`` on if given; return the run."""
    train = train_params(epochs=2, batch_size=16, optimizer=optimizer)
    compute = Compute(torch.device("cpu"), precision)
    torch.manual_seed(0)
    run = start_run(small(name, dropout=0.3), train, augment_params(rotation=5), compute)
    if state:
        run.restore(*state)
    for i, _ in enumerate(fit(run, split, split, evaluate_train=False)):
        if steps is not None and i == steps:
            break
    return run


@every_model
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_reads_any_length_and_no_row_ahead(name, precision):
    model = make(name, precision).eval()
    x = torch.rand(3, 11, 28)
    with torch.inference_mode():
        logits, read = model(x), model.read(x)
        longer = model.read(torch.cat([x, torch.rand(3, 5, 28)], dim=1))
        by_default = base.Model.read(model, x)
    assert logits.dtype == torch.float32
    assert (logits.shape, read.shape) == ((3, 10), (3, 11, 10))
    atol = 1e-5 if precision == "fp32" else 0.02
    for one, other in ((read[:, -1], logits), (longer[:, :11], read), (by_default, read)):
        torch.testing.assert_close(one, other, rtol=0, atol=atol)


@every_model
def test_bf16_gives_the_logits_and_gradients_of_fp32_but_for_rounding(name):
    x, found = torch.rand(16, 28, 28), []
    for precision in ("fp32", "bf16"):
        model = make(name, precision, n_layer=2, init="keras")
        (logits := model(x)).square().sum().backward()
        found.append([logits.detach(), *(p.grad for p in model.parameters())])
    for exact, rounded in zip(*found, strict=True):
        assert rounded.dtype == torch.float32
        assert 0 < (rounded - exact).norm() / exact.norm() < 0.05


@pytest.mark.parametrize(
    ("name", "n_layer"), [("lstm", 1), ("lstm", 3), ("gru", 2), ("transformer", 2)]
)
def test_onnx_runtime_gives_the_same_logits_at_any_batch_and_length(name, n_layer):
    model = make(name, n_layer=n_layer, dropout=0.5).eval()
    with torch.no_grad():  # as sure as a trained model, or a difference would not show
        model.lin.weight.mul_(30)
    model.reads = READS
    session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString())
    for n, length in ((1, 1), (256, 28), (2, 50)):
        x = torch.rand(n, length, 28)
        (logits,) = session.run(["logits"], {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), model(x), rtol=0, atol=1e-4)
    assert logits.std() > 0.5


@every_model
@pytest.mark.parametrize(
    ("precision", "optimizer"), [("fp32", "adamw"), ("fp32", "muon"), ("bf16", "adamw")]
)
def test_a_run_that_stops_goes_on_bit_for_bit(name, split, precision, optimizer):
    """With dropout and augmentation, so the generators come back as they were."""
    whole = trained(name, split, precision, optimizer)
    state = trained(name, split, precision, optimizer, steps=2).state()
    torch.manual_seed(99)
    resumed = trained(name, split, precision, optimizer, state=state)
    weights, others = (run.model.state_dict().values() for run in (resumed, whole))
    assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))


@every_model
@pytest.mark.parametrize("greys", [{}, {"I": [0, 4095]}])
def test_its_file_brings_it_back_and_draws_nothing(name, greys, tmp_path):
    model, reads = make(name).eval(), READS._replace(greys=greys)
    save_model(model, tmp_path / "x", reads)
    before = torch.get_rng_state()
    loaded = load_model(tmp_path / "x", small(name))
    assert torch.equal(torch.get_rng_state(), before)
    x = torch.rand(2, 28, 28)
    assert torch.equal(loaded(x), model(x))
    assert (loaded.training, loaded.reads) == (False, reads)
    save_model(loaded, tmp_path / "again", loaded.reads)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "x").read_bytes()


def test_what_is_no_such_model_is_refused_by_name(split, tmp_path):
    path = tmp_path / "x"
    with pytest.raises(TensorFileError, match="x: no such file; the stage `train` writes"):
        load_model(path, small("lstm"))
    save_split(split, path)
    with pytest.raises(UserError, match="x: not a model; the stage `train`"):
        load_model(path, small("lstm"))
    save_model(make(), path, READS)
    for other in (small("lstm", hdim=17), small("gru")):
        with pytest.raises(UserError, match=r"x: holds a model of .*params.yaml asks for "):
            load_model(path, other)


@every_model
def test_keras_weights_are_drawn_for_it_and_muon_moves_matrices(name):
    model = make(name, init="keras")
    assert {p.ndim for p in model.matrices()} == {2}
    assert model.lin.weight.data_ptr() not in {p.data_ptr() for p in model.matrices()}
    bound = (6 / (16 + 10)) ** 0.5  # of Glorot's uniform distribution
    assert 0.8 * bound < model.lin.weight.abs().max() <= bound


def test_keras_opens_the_forget_gates_and_draws_orthogonal_states():
    for _, w_hh, b_ih, b_hh in make(init="keras").rnn.all_weights:
        torch.testing.assert_close(w_hh.T @ w_hh, torch.eye(16), rtol=0, atol=1e-5)
        assert (b_ih + b_hh).tolist() == [0.0] * 16 + [1.0] * 16 + [0.0] * 32


def test_the_default_has_the_notebooks_821770_parameters():
    model = make_model(model_params())
    assert sum(values.numel() for values in model.parameters()) == 821_770


def test_the_lstm_is_a_plain_one_and_a_linear_layer_on_its_last_step():
    model, plain = make(), nn.LSTM(28, 16, 2, batch_first=True)
    plain.load_state_dict(model.rnn.state_dict())
    x = torch.rand(3, 28, 28)
    _, (hn, _) = plain(x)
    torch.testing.assert_close(model(x), hn[-1] @ model.lin.weight.T + model.lin.bias)


def test_dropout_is_between_layers_and_while_training_alone():
    model, dropping = make(), make(dropout=0.5)
    x = torch.rand(4, 28, 28)
    assert torch.equal(dropping.eval()(x), model(x))
    dropping.train()
    torch.manual_seed(0)
    ours = dropping(x)
    assert not torch.equal(ours, dropping(x))
    layers = nn.LSTM(28, 16, batch_first=True), nn.LSTM(16, 16, batch_first=True)
    for single, weights in zip(layers, dropping.rnn.all_weights, strict=True):
        single.load_state_dict(dict(zip(single.state_dict(), weights, strict=True)))
    torch.manual_seed(0)
    between = nn.functional.dropout(layers[0](x)[0], 0.5)
    torch.testing.assert_close(ours, dropping.lin(layers[1](between)[0][:, -1]))


@pytest.mark.filterwarnings("ignore")  # PyTorch's, of its own older ways
@pytest.mark.parametrize(
    "form",
    [
        torch.nn.Module.half,
        torch.nn.Module.double,
        lambda model: pickle.loads(pickle.dumps(model)),
        torch.jit.script,
        lambda model: torch.export.export(model, (torch.rand(4, 9, 28),)).module(),
        lambda model: quantize_dynamic(model, {nn.LSTM, nn.Linear}),
    ],
    ids="half double pickle script export quantized".split(),
)
def test_what_people_make_of_a_module_they_can_make_of_the_lstm(form):
    model, x = make().eval(), torch.rand(4, 9, 28)
    made = form(copy.deepcopy(model))
    cast = x.to(next(made.parameters(), x))
    logits = made(cast)
    assert logits.dtype == cast.dtype
    torch.testing.assert_close(logits.float(), model(x), rtol=0, atol=0.02)


def test_no_other_file_of_the_library_names_them():
    for path in Path("src/mnist_lstm").rglob("*.py"):
        if path.stem not in ("gru", "transformer"):
            assert not re.search(r"\b(gru|transformer)", path.read_text().lower()), path


def test_the_lstm_is_read_in_five_minutes():
    assert len(Path("src/mnist_lstm/models/lstm.py").read_text().splitlines()) <= 140


def test_a_name_that_is_no_file_is_refused_with_those_that_are():
    values = {"model": small("lstm").model_dump() | {"name": "grru"}}
    fits = r"models \(gru, lstm, transformer\), got 'grru'"
    with pytest.raises(ParamsError, match=rf"model.name must be a file in .*{fits}"):
        check_params(values, "params.yaml")


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
        make("transformer", hdim=15)
