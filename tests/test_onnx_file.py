"""What is in the exported file; test_models.py asks it the same as the model."""

import json
import os
import subprocess
import sys

import onnx
import pytest
import torch

from defaults import model_params
from mnist_lstm.export.onnx_file import OPSET, to_onnx
from mnist_lstm.models.base import Reads
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.models.store import save_model
from sandbox import ROOT

CLASSES = (*"012345678", "neuf é")
EXPORT = """
from pathlib import Path
from mnist_lstm import load
from mnist_lstm.export.onnx_file import save_onnx
save_onnx(load("model"), Path("model.onnx"))
"""


def make():
    torch.manual_seed(0)
    model = LSTMClassifier(model_params(hdim=16)).eval()
    model.reads = Reads(CLASSES, "mnist", 30)
    return model


def test_the_file_says_what_goes_in_and_what_comes_out():
    graph = to_onnx(make())
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


@pytest.mark.long
def test_another_process_in_another_folder_writes_the_same_and_says_nothing(tmp_path):
    """No path, version, user or time is in the file, and nothing beside it."""
    model = make()
    save_model(model, tmp_path / "model", model.reads)
    (tmp_path / "src").symlink_to(ROOT / "src")
    mine = {"PYTHONPATH": f"{tmp_path}/src", "USER": "nobody", "TZ": "Asia/Seoul"}
    done = subprocess.run(
        [sys.executable, "-c", EXPORT],
        cwd=tmp_path,
        env=os.environ | mine,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path.name for path in tmp_path.iterdir()} == {"model", "model.onnx", "src"}
    written = (tmp_path / "model.onnx").read_bytes()
    assert written == to_onnx(model).SerializeToString(deterministic=True)
    for word in (torch.__version__, onnx.__version__, str(tmp_path), str(ROOT), "site-"):
        assert word.encode() not in written
