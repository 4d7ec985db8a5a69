import copy
import functools
import pickle

import pytest
import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic

from defaults import DIGITS, model_params
from mnist_lstm.data.splits import save_split
from mnist_lstm.device import lacks_for_bf16
from mnist_lstm.models.base import Reads
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.models.store import load_model, save_model
from mnist_lstm.plumbing.errors import TensorFileError, UserError

PARAMS = model_params(hdim=16)
READS = Reads(DIGITS, "mnist", 28)
LACK = lacks_for_bf16(torch.device("cpu"))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LSTMClassifier(PARAMS).eval()


def test_the_default_has_the_notebooks_821770_parameters():
    model = LSTMClassifier(model_params())
    assert sum(values.numel() for values in model.parameters()) == 821_770


@pytest.mark.skipif(bool(LACK), reason=LACK)
def test_in_bf16_it_says_about_the_same_and_keeps_its_weights_in_float32(model):
    torch.manual_seed(0)
    fast = LSTMClassifier(PARAMS, precision="bf16")
    x = torch.rand(64, 28, 28)
    logits, expected = fast(x), model(x)
    assert logits.dtype == torch.float32
    assert 0 < (logits - expected).norm() / expected.norm() < 0.01
    logits.logsumexp(1).sum().backward()
    expected.logsumexp(1).sum().backward()
    for ours, theirs in zip(fast.parameters(), model.parameters(), strict=True):
        assert ours.dtype == ours.grad.dtype == torch.float32
        assert torch.equal(ours, theirs)
        assert (ours.grad - theirs.grad).norm() / theirs.grad.norm() < 0.02
    assert torch.equal(fast.read(x), model.read(x))  # always in fp32


@pytest.mark.parametrize("length", [1, 10, 28, 100])
def test_it_is_a_plain_lstm_and_a_linear_layer_on_its_last_step(model, length):
    plain = nn.LSTM(28, 16, 2, batch_first=True)
    plain.load_state_dict(model.rnn.state_dict())
    x = torch.rand(3, length, 28)
    _, (hn, _) = plain(x)
    torch.testing.assert_close(model(x), hn[-1] @ model.lin.weight.T + model.lin.bias)
    assert torch.equal(model(x), model.read(x)[:, -1])


def test_what_it_says_after_a_row_depends_on_no_later_row(model):
    x = torch.rand(2, 28, 28)
    early = model.read(x[:, :9])
    torch.testing.assert_close(model.read(x)[:, :9], early)
    assert not torch.allclose(model.read(x)[:, 27], model.read(x)[:, 9])


@pytest.mark.filterwarnings("ignore")  # PyTorch's, of its own older ways
@pytest.mark.parametrize(
    "form",
    [
        torch.nn.Module.half,
        torch.nn.Module.bfloat16,
        torch.nn.Module.double,
        copy.deepcopy,
        lambda model: pickle.loads(pickle.dumps(model)),
        torch.jit.script,
        lambda model: torch.jit.trace(model, torch.rand(2, 3, 28)),
        lambda model: torch.export.export(model, (torch.rand(4, 9, 28),)).module(),
        functools.partial(torch.fx.symbolic_trace, concrete_args={"lengths": None}),
        lambda model: quantize_dynamic(model, {nn.LSTM, nn.Linear}),
    ],
    ids="half bfloat16 double copy pickle script trace export fx quantized".split(),
)
def test_what_people_make_of_a_module_they_can_make_of_it(model, form):
    x = torch.rand(4, 9, 28)
    expected = model(x)
    made = form(copy.deepcopy(model))
    x = x.to(next(made.parameters(), x))
    logits = made(x)
    assert logits.dtype == x.dtype
    torch.testing.assert_close(logits.float(), expected, rtol=0, atol=0.02)


def test_keras_opens_the_forget_gates_and_draws_orthogonal_states():
    torch.manual_seed(0)
    drawn = LSTMClassifier(model_params(hdim=64, init="keras"))
    for layer in range(2):
        w_ih, w_hh, b_ih, b_hh = drawn.rnn.all_weights[layer]
        torch.testing.assert_close(w_hh.T @ w_hh, torch.eye(64), rtol=0, atol=1e-5)
        limit = (6 / (w_ih.shape[0] + w_ih.shape[1])) ** 0.5  # Glorot's
        assert 0.97 * limit < w_ih.abs().max() <= limit
        assert (b_ih + b_hh).tolist() == [0.0] * 64 + [1.0] * 64 + [0.0] * 128
    assert drawn.lin.bias.tolist() == [0.0] * 10


def test_dropout_is_between_layers_and_while_training_alone(model):
    dropping = LSTMClassifier(model_params(hdim=16, dropout=0.5))
    dropping.load_state_dict(model.state_dict())
    x = torch.rand(4, 28, 28)
    assert torch.equal(dropping.eval()(x), model(x))
    dropping.train()
    torch.manual_seed(0)
    ours = dropping(x)
    lower, upper = nn.LSTM(28, 16, batch_first=True), nn.LSTM(16, 16, batch_first=True)
    for layer, single in enumerate((lower, upper)):
        weights = dict(
            zip(single.state_dict(), dropping.rnn.all_weights[layer], strict=True)
        )
        single.load_state_dict(weights)
    torch.manual_seed(0)
    between = nn.functional.dropout(lower(x)[0], 0.5)
    torch.testing.assert_close(ours, dropping.lin(upper(between)[0][:, -1]))
    assert not torch.equal(ours, dropping(x))
    one = LSTMClassifier(model_params(hdim=16, n_layer=1, dropout=0.5))
    assert torch.equal(one(x), one(x))  # there is nothing between


@pytest.mark.parametrize("greys", [{}, {"I": [0, 4095]}])
def test_a_model_comes_back_as_it_was_saved_and_draws_nothing(model, tmp_path, greys):
    path = tmp_path / "model.safetensors"
    reads = READS._replace(greys=greys)
    save_model(model, path, reads)
    assert (b"greys" in path.read_bytes()) == bool(greys)  # they cost no byte without
    x = torch.rand(4, 28, 28)
    before = torch.get_rng_state()
    loaded = load_model(path, PARAMS)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(loaded(x), model(x))
    assert not loaded.training
    assert loaded.reads == reads
    save_model(loaded, tmp_path / "again", loaded.reads)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_what_is_no_such_model_is_refused_by_name(model, split, tmp_path):
    path = tmp_path / "x"
    with pytest.raises(TensorFileError, match="x: no such file; the stage `train` writes"):
        load_model(path, PARAMS)
    save_split(split, path)
    with pytest.raises(UserError, match="x: not a model; the stage `train`"):
        load_model(path, PARAMS)
    save_model(model, path, READS)
    for changes in ({"hdim": 17}, {"n_layer": 1}, {"n_layer": 3}):
        with pytest.raises(UserError, match=r"x: holds a model of .*params.yaml asks for "):
            load_model(path, PARAMS.model_copy(update=changes))
