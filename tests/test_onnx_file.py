"""What is in the exported file; test_models.py asks it the same as the model."""

import json

import onnx
import torch

from defaults import model_params
from mnist_lstm.export.onnx_file import OPSET, save_onnx
from mnist_lstm.models.base import Reads
from mnist_lstm.models.lstm import LSTMClassifier
from sandbox import ROOT

CLASSES = (*"012345678", "neuf é")


def test_the_file_says_what_goes_in_and_what_comes_out_and_not_who_wrote_it(tmp_path):
    model = LSTMClassifier(model_params(hdim=16)).eval()
    model.reads = Reads(CLASSES, "mnist", 30)
    save_onnx(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == [tmp_path / "model.onnx"]  # the weights are inside
    written = (tmp_path / "model.onnx").read_bytes()
    for word in (torch.__version__, onnx.__version__, str(ROOT), "site-", "forward"):
        assert word.encode() not in written
    graph = onnx.load_from_string(written)
    (x,), (logits,) = graph.graph.input, graph.graph.output
    for value, name, form in ((x, "x", ["N", "L", 28]), (logits, "logits", ["N", 10])):
        dims = value.type.tensor_type.shape.dim
        assert value.name == name
        assert [dim.dim_param or dim.dim_value for dim in dims] == form
        assert value.doc_string
    props = {props.key: props.value for props in graph.metadata_props}
    assert json.loads(props.pop("classes")) == list(CLASSES)
    assert props == {"picture": "mnist", "height": "30", "width": "28"}
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", OPSET)]
    # Some runtimes take no LSTM whose weights are computed.
    constants = {tensor.name for tensor in graph.graph.initializer}
    lstms = [node for node in graph.graph.node if node.op_type == "LSTM"]
    assert len(lstms) == 2
    assert all(set(node.input[1:4]) <= constants for node in lstms)
