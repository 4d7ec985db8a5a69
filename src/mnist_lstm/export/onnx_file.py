"""The trained model as ONNX, which runs without PyTorch and without this project.

PyTorch's exporter notes where in the source each node comes from, with paths and versions.
None of that is kept: the same model is the same bytes, on any machine and in any folder.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from mnist_lstm.models.base import Model, last_step
from mnist_lstm.plumbing.files import write_bytes

OPSET = 18  # the one that the exporter is written for; runtimes since 2023 have it


def save_onnx(model: Model, path: Path) -> None:
    """Write ``model``, in fp32 and as it was loaded, to ``path`` with its weights."""
    write_bytes(path, to_onnx(model).SerializeToString(deterministic=True))


def to_onnx(model: Model) -> onnx.ModelProto:
    """Return ``model`` as ONNX: ``x`` float32 [N x L x Q] => ``logits`` [N x ydim].

    N and L are free, from 1 on: ONNX Runtime aborts the process where N is 0.
    ``metadata_props`` has ``classes``, a list in JSON, ``picture``, as in prepare.picture,
    and ``height`` and ``width`` of the train images. A model of sequences takes raw values,
    which the graph standardises, and ``lengths`` int64 [N]; its ``metadata_props`` has
    ``classes``, ``length`` of the longest train sequence, and ``width``, values in a step.
    """
    x = torch.zeros(2, 3, model.params.xdim)  # not 1: that would be taken for a constant
    inputs, dynamic = {"x": x}, {"x": {0: "N", 1: "L"}}
    exported: nn.Module = _OnnxClassifier(model) if model.is_lstm else model
    if model.reads.scaling:
        exported = _OfRawValues(exported, model.reads.scaling)
        inputs["lengths"], dynamic["lengths"] = torch.tensor([3, 2]), {0: "N"}
    with warnings.catch_warnings(action="ignore"):  # PyTorch's, about itself
        program = torch.onnx.export(
            exported.eval(),
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_shapes=dynamic,
            verbose=False,
            optimize=False,  # nothing is left to simplify
        )
    assert program is not None  # it is for the older exporter
    graph = program.model_proto
    _clear_notes(graph)
    graph.ClearField("producer_version")
    graph.graph.ClearField("value_info")  # shapes in between, which readers infer
    _document(graph, model)
    onnx.checker.check_model(graph, full_check=True)
    return graph


class _OfRawValues(nn.Module):
    """A model of sequences behind their standardisation."""

    def __init__(self, model: nn.Module, scaling: Mapping[str, Any]):
        super().__init__()
        self.model = model
        self.fills = scaling["missing"] == "mean"
        self.mean = nn.Buffer(torch.tensor(scaling["mean"]))
        self.deviation = nn.Buffer(torch.tensor(scaling["deviation"]))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the logits: raw values [N x L x Q], int64 [N] => [N x ydim]."""
        x = (x - self.mean) / self.deviation
        # As `prepare` pads, whatever stood there: attention spreads NaN over all steps.
        real = torch.arange(x.shape[1])[:, None] < lengths[:, None, None]
        if self.fills:
            real = real & ~x.isnan()
        x = torch.where(real, x, 0.0)
        logits = self.model(x, lengths)
        # A runtime's LSTM may make a number of NaN.
        return torch.where(x.isnan().any(2).any(1, keepdim=True), torch.nan, logits)


class _OnnxClassifier(nn.Module):
    """The classifier with ONNX's own LSTM, of which the exporter makes one node a layer.

    Of ``nn.LSTM`` it would trace loops, for seconds, and make a dozen nodes a layer.
    """

    def __init__(self, model: Model):
        super().__init__()
        self.layers = nn.ModuleList(_OnnxLSTM(*layer) for layer in model.rnn.all_weights)
        self.lin = model.lin

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the logits: [N x L x Q], int64 [N] => [N x ydim]."""
        x = x.transpose(0, 1)
        for layer in self.layers:
            x = layer(x)
        return self.lin(x[-1] if lengths is None else last_step(x.transpose(0, 1), lengths))


class _OnnxLSTM(nn.Module):
    """A layer of an LSTM that the exporter writes as ONNX defines it; it computes nothing.

    Source: https://onnx.ai/onnx/operators/onnx__LSTM.html
    """

    def __init__(self, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor):
        super().__init__()
        w, r, b, b_r = (_as_onnx_orders(v.detach()) for v in (w_ih, w_hh, b_ih, b_hh))
        self.W = nn.Buffer(w.unsqueeze(0))  # of the one direction
        self.R = nn.Buffer(r.unsqueeze(0))
        self.B = nn.Buffer(torch.cat([b, b_r]).unsqueeze(0))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs after each step: [L x N x Q] => [L x N x D]."""
        length, n, _ = x.shape
        hdim = self.R.shape[2]
        y = torch.onnx.ops.symbolic(
            "LSTM",
            [x, self.W, self.R, self.B],
            {"hidden_size": hdim},
            dtype=x.dtype,
            shape=(length, 1, n, hdim),
            version=OPSET,
        )
        return y.squeeze(1)


def _as_onnx_orders(gates: Tensor) -> Tensor:
    """Return weights or biases of the gates [4D x ...], i f g o in PyTorch, as i o f g."""
    i, f, g, o = gates.chunk(4)
    return torch.cat([i, o, f, g])


def _clear_notes(message: Any) -> None:
    """Remove what says where a part comes from, of a protobuf message and all its parts."""
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type:
            for part in value if field.is_repeated else [value]:
                _clear_notes(part)


def _document(graph: onnx.ModelProto, model: Model) -> None:
    """Say in the file what goes in and what comes out."""
    reads, called = model.reads, model.called[0].upper() + model.called[1:]
    props = {"classes": json.dumps(reads.classes, ensure_ascii=False)}
    if reads.scaling:
        what = "sequences, read step by step"
        missing = "; NaN where one is missing" if reads.scaling["missing"] == "mean" else ""
        about = f"N sequences of up to L steps of Q values, raw, with any padding{missing}"
        props |= {"length": str(reads.length)}
        graph.graph.input[1].doc_string = "the real steps of each sequence, from 1 to L"
    else:
        what = "images, read row by row"
        about = "N images of L rows of Q pixels, each pixel from 0 (black) to 1 (white)"
        props |= {"picture": reads.picture, "height": str(reads.length)}
    graph.doc_string = f"{called} that classifies {what}."
    graph.graph.name = "mnist-lstm"
    graph.graph.input[0].doc_string = about
    graph.graph.output[0].doc_string = "by class; softmax makes probabilities of them"
    onnx.helper.set_model_props(graph, props | {"width": str(model.params.xdim)})
