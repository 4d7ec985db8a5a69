"""What `describe` explains, held against what it is about."""

import re

import pytest
import torch

from defaults import model_params
from mnist_lstm.models import explanation
from mnist_lstm.models.explanation import explain, layer_formula
from mnist_lstm.models.lstm import LSTMClassifier

MODELS = [
    {},
    {"hdim": 8, "n_layer": 5, "init": "keras", "dropout": 0.5},
    {"xdim": 1, "hdim": 1, "ydim": 2, "n_layer": 1},
]


def make(changes):
    torch.manual_seed(0)
    return LSTMClassifier(model_params(**changes))


@pytest.fixture(params=MODELS, ids=str)
def model(request):
    return make(request.param)


def told(model):
    """Return all of it in one line."""
    return " ".join(" ".join(explain(model, length=20)).split())


def number(text, after):
    """Return the number that follows ``after``."""
    (found,) = re.findall(rf"{re.escape(after)} ([-+\d.e]*\d)", text)
    return float(found)


def test_every_line_has_room_on_a_terminal(model):
    lines = list(explain(model, length=20))
    assert max(map(len, lines)) <= 80
    assert all(line.isascii() for line in lines)


def test_the_formula_of_a_layer_is_the_count_of_its_parameters(model):
    for layer, weights in enumerate(model.rnn.all_weights):
        product = eval(layer_formula(model.rnn, layer).replace("x", "*"))
        assert product == sum(values.numel() for values in weights)
    # what people look for
    assert layer_formula(make({}).rnn, 1) == "4 x 256 x (256 + 256 + 2)"


def test_the_order_of_the_gates_is_found_and_not_typed(model, monkeypatch):
    reversed_order = explanation.ORDER[::-1]
    monkeypatch.setattr(explanation, "ORDER", reversed_order)
    text = told(model)
    assert "in this order: input, forget, candidate, output. " in text
    right, others = number(text, "differ from nn.LSTM's by"), number(text, "orders by")
    assert right < 1e-5
    assert 10 * right < others


def test_what_is_the_same_differs_by_nothing_and_what_is_not_does(model):
    text = told(model)
    assert number(text, "is hn[-1]. They differ by") == 0
    assert number(text, "hn[-1] all of them; they differ by") > 1e-3
    assert number(text, "With zeros passed, rnn_out differs by") == 0
    assert number(text, "once more: rnn_out differs by") == 0
    assert number(text, "passed on, by") > 1e-5
    assert number(text, "with batch_first=True by") == 0
    assert number(text, "output of the last one by") > 0


def test_a_second_softmax_has_a_floor_that_no_answer_gets_below():
    text = told(make({}))
    e = torch.tensor(1.0).exp()
    floor = ((e + 9).log() - 1).item()
    assert f"the loss is 0.00; with a softmax before it {floor:.2f}, and of 10" in text
