import pytest
import torch

from defaults import model_params
from mnist_lstm.models.gates import compute_gates
from mnist_lstm.models.lstm import LSTMClassifier


@pytest.mark.parametrize("changes", [{}, {"n_layer": 1}, {"n_layer": 3, "init": "keras"}])
def test_the_steps_by_hand_are_those_of_nn_lstm(changes):
    torch.manual_seed(0)
    model = LSTMClassifier(model_params(hdim=16, **changes))
    x = torch.rand(3, 28, 28)
    layers = compute_gates(model.rnn, x)
    rnn_out, (hn, cn) = model.rnn(x)
    torch.testing.assert_close(layers[-1].hidden, rnn_out)
    assert len(layers) == model.params.n_layer
    for layer, h, c in zip(layers, hn, cn, strict=True):
        torch.testing.assert_close(layer.hidden[:, -1], h)
        torch.testing.assert_close(layer.cell[:, -1], c)
        assert {v.shape for v in layer} == {(3, 28, 16)}
        for gate in (layer.input, layer.forget, layer.output):
            assert 0 < gate.min() < gate.max() < 1
        assert -1 < layer.candidate.min() < 0 < layer.candidate.max() < 1


def test_each_gate_is_the_block_of_the_weights_that_bears_its_name():
    """One block alone is opened by its bias: that gate is open, the others half."""
    model = LSTMClassifier(model_params(hdim=8, n_layer=1))
    for block, name in enumerate(("input", "forget", "candidate", "output")):
        with torch.no_grad():
            for values in model.rnn.parameters():
                values.zero_()
            model.rnn.bias_ih_l0.chunk(4)[block].fill_(20)
        (layer,) = compute_gates(model.rnn, torch.rand(2, 5, 28))
        means = {key: getattr(layer, key).mean().item() for key in layer._fields[:4]}
        half = {"input": 0.5, "forget": 0.5, "candidate": 0.0, "output": 0.5}
        assert means == pytest.approx(half | {name: 1.0})
