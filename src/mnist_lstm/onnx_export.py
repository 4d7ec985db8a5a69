"""The trained model as ONNX, which runs without PyTorch and without this project.

PyTorch's exporter notes where in the source each node comes from, with paths and versions.
None of that is kept: the same model is the same bytes, on any machine and in any folder.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxscript import optimizer

from mnist_lstm.model import LSTMClassifier
from mnist_lstm.plumbing.errors import ExportError
from mnist_lstm.plumbing.files import write_bytes

OPSET = 18  # the one that the exporter is written for; runtimes since 2023 have it
_MOST = 2**31 - 1  # bytes in a protobuf message


def save_onnx(model: LSTMClassifier, path: Path, classes: Sequence[str]) -> None:
    """Write ``model`` to ``path``, one file with its weights.

    Args:
        model: in fp32, evaluating.
        path: where to.
        classes: what each of the ydim logits stands for.

    Raises:
        ExportError: more weights than an ONNX file holds.
    """
    size = sum(values.nbytes for values in model.state_dict().values())
    if size > 0.99 * _MOST:  # the rest is a few kilobytes
        raise ExportError.too_big(path, size, _MOST)
    graph = to_onnx(model, classes)
    write_bytes(path, graph.SerializeToString(deterministic=True))


def to_onnx(model: LSTMClassifier, classes: Sequence[str]) -> onnx.ModelProto:
    """Return ``model`` as ONNX: ``x`` float32 [N x L x Q] => ``logits`` [N x ydim].

    N and L are free. ``metadata_props`` of the whole has ``classes``, a list in JSON.
    """
    x = torch.zeros(2, 3, model.params.xdim)  # not 1: that would be taken for a constant
    with warnings.catch_warnings(action="ignore"):  # PyTorch's, about itself
        program = torch.onnx.export(
            model,
            (x,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["x"],
            output_names=["logits"],
            dynamic_shapes={"x": {0: "N", 1: "L"}},
            verbose=False,
            optimize=False,  # but below, the weights as well
        )
    assert program is not None  # it is for the older exporter
    # The weights in ONNX's order of the gates, as constants: not every runtime takes an
    # LSTM whose weights are computed.
    optimizer.optimize_ir(program.model, input_size_limit=_MOST, output_size_limit=_MOST)
    graph = program.model_proto
    _clear_notes(graph)
    graph.ClearField("producer_version")
    graph.graph.ClearField("value_info")  # shapes in between, which readers infer
    _document(graph, classes)
    onnx.checker.check_model(graph, full_check=True)
    return graph


def _clear_notes(message: Any) -> None:
    """Remove what says where a part comes from, of a protobuf message and all its parts."""
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type:
            for part in value if field.is_repeated else [value]:
                _clear_notes(part)


def _document(graph: onnx.ModelProto, classes: Sequence[str]) -> None:
    """Say in the file what goes in and what comes out."""
    graph.doc_string = "An LSTM that classifies images, read row by row."
    graph.graph.name = "mnist-lstm"
    (x,), (logits,) = graph.graph.input, graph.graph.output
    x.doc_string = "N images of L rows of Q pixels, each pixel from 0 (black) to 1 (white)"
    logits.doc_string = "by class; softmax makes probabilities of them"
    onnx.helper.set_model_props(
        graph, {"classes": json.dumps(list(classes), ensure_ascii=False)}
    )
