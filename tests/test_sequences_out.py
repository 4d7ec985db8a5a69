"""What comes out for sequences: figures, ONNX, the card and the page."""

import json

import onnxruntime
import pytest
import torch

from defaults import model_params
from mnist_lstm.export.onnx_file import to_onnx
from mnist_lstm.models.base import Reads, make_model

NAN = float("nan")
SCALING = {"mean": [5.0, -70.0, 0.0], "deviation": [0.1, 20.0, 3.0], "missing": "refuse"}


def make(name="lstm", **scaling):
    torch.manual_seed(0)
    sizes = {"xdim": 3, "ydim": 4, "hdim": 16, "n_head": 2}
    model = make_model(model_params(name=name, **sizes)).eval()
    with torch.no_grad():  # as sure as a trained model, or a difference would not show
        model.lin.weight.mul_(30)
    model.reads = Reads(("a", "é", "c", "d"), "", 20, scaling=SCALING | scaling)
    return model


def run(graph, x, lengths):
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    given = {"x": x.numpy(), "lengths": torch.tensor(lengths).numpy()}
    return torch.from_numpy(session.run(["logits"], given)[0])


@pytest.mark.parametrize("name", ["lstm", "gru", "transformer"])
def test_onnx_takes_raw_values_with_any_padding_and_lengths(name):
    model = make(name)
    graph = to_onnx(model)
    mean, deviation = (torch.tensor(SCALING[key]) for key in ("mean", "deviation"))
    for lengths in ([1], [50, 3], [20, 1, 19, 7, 20]):
        x = torch.randn(len(lengths), max(lengths), 3)
        raw = x * deviation + mean
        for i, steps in enumerate(lengths):
            raw[i, steps:] = (NAN, 0.0, float("inf"))[i % 3]
        with torch.inference_mode():
            alone = [model(x[i : i + 1, :n])[0] for i, n in enumerate(lengths)]
        expected = torch.stack(alone)
        found = run(graph, raw, lengths)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.5
    raw[1, 0, 0] = NAN  # a missing value, which this model has not learnt to take
    assert run(graph, raw, lengths).isnan().any(1).tolist() == [False, True, *3 * [False]]


def test_onnx_takes_a_missing_value_for_the_mean_where_training_did_and_says_so():
    graph = to_onnx(make(missing="mean"))
    raw = torch.randn(1, 6, 3)
    raw[0, 0, 1] = SCALING["mean"][1]
    whole = run(graph, raw, [6])
    raw[0, 0, 1] = NAN
    assert torch.equal(run(graph, raw, [6]), whole)

    x, lengths = graph.graph.input
    forms = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (x, lengths)
    ]
    assert (x.name, lengths.name, forms) == ("x", "lengths", [["N", "L", 3], ["N"]])
    assert "NaN where one is missing" in x.doc_string
    assert "step by step" in graph.doc_string
    props = {props.key: props.value for props in graph.metadata_props}
    assert json.loads(props.pop("classes")) == ["a", "é", "c", "d"]
    assert props == {"length": "20", "width": "3"}
    assert [node.op_type for node in graph.graph.node].count("LSTM") == 2
