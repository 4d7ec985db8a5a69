"""What `describe` explains, held against what it is about."""

import math
import re

import pytest
import torch

from defaults import model_params
from mnist_lstm.models import explanation
from mnist_lstm.models.explanation import explain, formulas
from mnist_lstm.models.lstm import LSTMClassifier


@pytest.fixture(
    params=[
        {},
        {"hdim": 8, "n_layer": 5, "init": "keras", "dropout": 0.5},
        {"xdim": 1, "hdim": 1, "n_layer": 1},
    ],
    ids=str,
)
def model(request):
    torch.manual_seed(0)
    return LSTMClassifier(model_params(**request.param))


def number(text, after):
    """Return the number that follows ``after``."""
    (found,) = re.findall(rf"{re.escape(after)} ([-+\d.e]*\d)", text)
    return float(found)


def test_the_formula_of_a_layer_is_the_count_of_its_parameters(model):
    products = formulas(model)
    for layer, weights in enumerate(model.rnn.all_weights):
        product = eval(products[f"rnn_l{layer}"].replace("x", "*"))
        assert product == sum(values.numel() for values in weights)
    assert eval(products["lin"].replace("x", "*")) == 10 * (model.params.hdim + 1)


def test_what_is_the_same_differs_by_nothing_and_what_is_not_does(model, monkeypatch):
    # The order of the gates is found and not typed.
    monkeypatch.setattr(explanation, "ORDER", explanation.ORDER[::-1])
    lines = list(explain(model, length=20))
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert "in this order: input, forget, candidate, output. " in text
    right, others = number(text, "differ from nn.LSTM's by"), number(text, "orders by")
    assert right < 1e-5
    assert 10 * right < others
    assert number(text, "is hn[-1]. They differ by") == 0
    assert number(text, "hn[-1] all of them; they differ by") > 1e-3
    assert number(text, "With zeros passed, rnn_out differs by") == 0
    assert number(text, "once more: rnn_out differs by") == 0
    assert number(text, "passed on, by") > 1e-5
    assert number(text, "with batch_first=True by") == 0
    assert number(text, "output of the last one by") > 0
    floor = math.log(math.e + 9) - 1  # of the loss after a second softmax
    assert f"the loss is 0.00; with a softmax before it {floor:.2f}, and of 10" in text
