"""The exported model is opened by onnxruntime, as its users do, and asked the same."""

import json
import os
import subprocess
import sys

import onnx
import onnxruntime
import pytest
import torch

from defaults import DEFAULT, model_params
from mnist_lstm.export.onnx_file import OPSET, save_onnx, to_onnx
from mnist_lstm.models.base import Reads
from mnist_lstm.models.lstm import LSTMClassifier
from sandbox import ROOT

CLASSES = [*"012345678", "neuf é"]
EXPORT = f"""
import torch
from pathlib import Path
from mnist_lstm.models.base import Reads
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.export.onnx_file import save_onnx
from mnist_lstm.plumbing.params import ModelParams
torch.manual_seed(0)
model = LSTMClassifier(ModelParams(**{DEFAULT["model"] | {"hdim": 16}})).eval()
model.reads = Reads(tuple({CLASSES}), "mnist", 30)
save_onnx(model, Path("model.onnx"))
"""


def make(**changes):
    torch.manual_seed(0)
    model = LSTMClassifier(model_params(**changes)).eval()
    model.reads = Reads(tuple(CLASSES), "mnist", 30)
    return model


@pytest.fixture(scope="module")
def graph():
    return to_onnx(make(hdim=16))


@pytest.mark.parametrize(
    "changes",
    [{}, {"hdim": 24, "n_layer": 1, "init": "keras"}, {"n_layer": 3, "dropout": 0.5}],
)
def test_onnxruntime_gives_the_same_logits_for_any_batch_and_length(changes, tmp_path):
    model = make(**changes)
    with torch.no_grad():  # as sure as a trained model, or a difference would not show
        model.lin.weight.mul_(50)
    save_onnx(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == [tmp_path / "model.onnx"]  # the weights are inside
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for n in (1, 7, 256):
        for length in (1, 28, 50):
            x = torch.rand(n, length, 28)
            with torch.inference_mode():
                expected = model(x)
            (logits,) = session.run(None, {"x": x.numpy()})
            assert logits.shape == (n, 10)
            torch.testing.assert_close(torch.tensor(logits), expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.5


def test_the_file_says_what_goes_in_and_what_comes_out(graph):
    (x,), (logits,) = graph.graph.input, graph.graph.output
    for value, name, form in ((x, "x", ["N", "L", 28]), (logits, "logits", ["N", 10])):
        dims = value.type.tensor_type.shape.dim
        assert value.name == name
        assert [dim.dim_param or dim.dim_value for dim in dims] == form
        assert value.doc_string
    props = {props.key: props.value for props in graph.metadata_props}
    assert json.loads(props.pop("classes")) == CLASSES
    assert props == {"picture": "mnist", "height": "30", "width": "28"}
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", OPSET)]
    # Some runtimes take no LSTM whose weights are computed.
    constants = {tensor.name for tensor in graph.graph.initializer}
    lstms = [node for node in graph.graph.node if node.op_type == "LSTM"]
    assert len(lstms) == 2
    assert all(set(node.input[1:4]) <= constants for node in lstms)


@pytest.mark.long
def test_another_process_in_another_folder_writes_the_same_and_says_nothing(
    graph, tmp_path
):
    """No path, version, user or time is in the file, and nothing beside it."""
    (tmp_path / "src").symlink_to(ROOT / "src")
    done = subprocess.run(
        [sys.executable, "-c", EXPORT],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": f"{tmp_path}/src", "USER": "nobody", "TZ": "Asia/Seoul"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "src"}
    written = (tmp_path / "model.onnx").read_bytes()
    assert written == graph.SerializeToString(deterministic=True)
    for word in (torch.__version__, onnx.__version__, str(tmp_path), str(ROOT), "site-"):
        assert word.encode() not in written
