import copy
import pickle
import time

import pytest
import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic

from defaults import DIGITS, model_params
from mnist_lstm import device
from mnist_lstm.model import LSTMClassifier, Reads, load_model, save_model
from mnist_lstm.plumbing.errors import ModelError, TensorFileError
from mnist_lstm.splits import save_split
from mnist_lstm.tensorfile import save_tensors

PARAMS = model_params(hdim=16)
READS = Reads(DIGITS, "mnist", 28)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LSTMClassifier(PARAMS).eval()


def test_the_default_has_the_notebooks_821770_parameters():
    model = LSTMClassifier(model_params())
    assert sum(values.numel() for values in model.parameters()) == 821_770


@pytest.mark.skipif(not device._has_lstm_in_bf16(), reason="no LSTM in bf16 here")
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
def test_it_classifies_sequences_of_any_length_by_their_last_step(model, length):
    x = torch.rand(3, length, 28)
    logits = model(x)
    assert logits.shape == (3, 10)
    assert torch.equal(logits, model.read(x)[:, -1])


def test_what_it_says_after_a_row_depends_on_no_later_row(model):
    x = torch.rand(2, 28, 28)
    early = model.read(x[:, :9])
    torch.testing.assert_close(model.read(x)[:, :9], early)
    assert not torch.allclose(model.read(x)[:, 27], model.read(x)[:, 9])


def test_its_weights_are_those_of_a_plain_nn_lstm(model):
    plain = nn.LSTM(28, 16, 2, batch_first=True)
    weights = model.state_dict()
    plain.load_state_dict(
        {k.removeprefix("rnn."): v for k, v in weights.items() if k.startswith("rnn.")}
    )
    x = torch.rand(4, 28, 28)
    _, (hn, _) = plain(x)
    expected = hn[-1] @ weights["lin.weight"].T + weights["lin.bias"]
    torch.testing.assert_close(model(x), expected)


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
        torch.fx.symbolic_trace,
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


def test_to_load_a_model_leaves_the_generator_alone(model, tmp_path):
    save_model(model, tmp_path / "x", READS)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    load_model(tmp_path / "x", PARAMS)
    assert torch.equal(torch.rand(1), expected)


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


def test_a_model_comes_back_as_it_was_saved(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, path, READS)
    x = torch.rand(4, 28, 28)
    loaded = load_model(path, PARAMS)
    assert torch.equal(loaded(x), model(x))
    assert not loaded.training
    assert loaded.reads == READS
    save_model(loaded, tmp_path / "again", loaded.reads)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_the_greys_that_it_learnt_from_come_back_and_cost_no_byte_without(model, tmp_path):
    greys = {"I": [0, 4095]}
    save_model(model, tmp_path / "wide", READS._replace(greys=greys))
    assert load_model(tmp_path / "wide", PARAMS).reads.greys == greys
    save_model(model, tmp_path / "narrow", READS)
    assert b"greys" not in (tmp_path / "narrow").read_bytes()


def test_a_missing_model_says_which_stage_writes_it(tmp_path):
    with pytest.raises(TensorFileError, match="no such file; the stage `train` writes it"):
        load_model(tmp_path / "model.safetensors", PARAMS)


def test_a_model_of_other_params_is_refused_with_what_differs(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, path, READS)
    with pytest.raises(ModelError) as caught:
        load_model(path, PARAMS.model_copy(update={"hdim": 17, "n_layer": 1}))
    assert str(caught.value) == (
        f"{path}: holds a model of hdim 16, n_layer 2, params.yaml asks for hdim 17, "
        "n_layer 1; `dvc repro` trains it"
    )


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("lin.bias", torch.zeros(11), "is torch.float32 [11], expected torch.float32 [10]"),
        (
            "lin.bias",
            torch.zeros(10).double(),
            "is torch.float64 [10], expected torch.float32",
        ),
        ("lin.bias", None, "is missing, expected torch.float32 [10]"),
        ("more", torch.zeros(1), "is torch.float32 [1], expected no such tensor"),
    ],
)
def test_weights_of_another_form_are_refused_by_name(model, tmp_path, name, values, found):
    path = tmp_path / "model.safetensors"
    weights = model.state_dict() | {name: values}
    weights = {name: values for name, values in weights.items() if values is not None}
    metadata = {"model": PARAMS.model_dump(), "reads": READS._asdict()}
    save_tensors(path, weights, metadata)
    with pytest.raises(ModelError) as caught:
        load_model(path, PARAMS)
    assert str(caught.value).startswith(f"{path}: {name} {found}")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["lin.bias", "rnn.weight_hh_l1"])
def test_weights_that_are_not_finite_are_refused_by_name(model, tmp_path, name, value):
    with torch.no_grad():
        model.get_parameter(name).flatten()[3] = value
    save_model(model, tmp_path / "x", READS)
    with pytest.raises(ModelError, match=f"x: {name} is not finite"):
        load_model(tmp_path / "x", PARAMS)


@pytest.mark.parametrize(
    "changes", [{}, {"xdim": 5, "ydim": 1, "n_layer": 1}, {"hdim": 3, "n_layer": 4}]
)
def test_the_forms_that_are_expected_are_those_of_a_model(tmp_path, changes):
    params = PARAMS.model_copy(update=changes)
    names = [str(i) for i in range(params.ydim)]
    save_model(LSTMClassifier(params), tmp_path / "x", READS._replace(classes=names))
    assert load_model(tmp_path / "x", params).params == params


@pytest.mark.parametrize("changes", [{"n_layer": 65536}, {"hdim": 65536}])
def test_a_file_that_only_claims_to_be_of_a_huge_model_is_refused_at_once(
    model, tmp_path, changes
):
    params = PARAMS.model_copy(update=changes)
    metadata = {"model": params.model_dump(), "reads": READS._asdict()}
    save_tensors(tmp_path / "x", model.state_dict(), metadata)
    began = time.process_time()
    with pytest.raises(ModelError, match=r"x: \S+ is .*, expected torch.float32 "):
        load_model(tmp_path / "x", params)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "reads",
    [
        None,
        [],
        {"classes": list(DIGITS)},
        READS._asdict() | {"classes": "0123456789"},
        READS._asdict() | {"classes": ["a", "b"]},
        READS._asdict() | {"classes": ["a"] * 10},
        READS._asdict() | {"classes": list(range(10))},
        READS._asdict() | {"classes": [*DIGITS[:9], "\ud800"]},
        READS._asdict() | {"picture": "no such way"},
        READS._asdict() | {"picture": ["mnist"]},
        READS._asdict() | {"length": "28"},
        READS._asdict() | {"length": 0},
        READS._asdict() | {"length": -3},
        READS._asdict() | {"length": 1e400},
        READS._asdict() | {"length": True},
        READS._asdict() | {"length": 2**40},
    ],
)
def test_a_model_that_does_not_say_what_it_reads_is_refused(model, tmp_path, reads):
    path = tmp_path / "x"
    save_tensors(path, model.state_dict(), {"model": PARAMS.model_dump(), "reads": reads})
    with pytest.raises(ModelError, match="x: not a model; the stage `train`"):
        load_model(path, PARAMS)


def test_tensors_that_are_no_model_are_refused_by_name(split, tmp_path):
    save_split(split, tmp_path / "x")
    with pytest.raises(ModelError, match="x: not a model; the stage `train`"):
        load_model(tmp_path / "x", PARAMS)
