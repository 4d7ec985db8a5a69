import pytest
import torch

from defaults import model_params
from mnist_lstm.models.gates import ORDER, compute_gates
from mnist_lstm.models.lstm import LSTMClassifier


def test_each_gate_is_the_block_of_the_weights_that_bears_its_name():
    """One block alone is opened by its bias: that gate is open, the others half."""
    rnn = LSTMClassifier(model_params(hdim=8, n_layer=1)).rnn
    for block, name in enumerate(ORDER):
        with torch.no_grad():
            for values in rnn.parameters():
                values.zero_()
            rnn.bias_ih_l0.chunk(4)[block].fill_(20)
        x = torch.rand(2, 5, 28)
        (layer,) = compute_gates(rnn, x)
        means = {key: getattr(layer, key).mean().item() for key in ORDER}
        half = {"input": 0.5, "forget": 0.5, "candidate": 0.0, "output": 0.5}
        assert means == pytest.approx(half | {name: 1.0})
        out, (_, cn) = rnn(x)
        torch.testing.assert_close(layer.hidden, out)
        torch.testing.assert_close(layer.cell[:, -1], cn[0])
