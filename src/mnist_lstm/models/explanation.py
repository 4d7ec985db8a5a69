"""What learners ask about an LSTM, answered by trying it: no number here is typed.

Each answer is a claim and what was computed to show it, on random images. Why these: they
are what people ask again and again about ``nn.LSTM``.
"""

import copy
import itertools
import textwrap
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from mnist_lstm.models.base import Model
from mnist_lstm.models.gates import ORDER, compute_gates

Answer = tuple[str, str]  # the claim, and what shows it


@torch.no_grad()
def shapes(model: Model, x: Tensor) -> dict[str, list[int]]:
    """Return the shapes of what is computed of ``x`` [N x L x Q], by name."""
    found = {"x": x}
    if model.is_lstm:
        found["rnn_out"], (found["hn"], found["cn"]) = model.rnn(x)
    else:
        found["logits"] = model(x)
    return {name: list(values.shape) for name, values in found.items()}


def formulas(model: Model) -> dict[str, str]:
    """Return the count of a layer's parameters as a product: gates, units, inputs."""
    if not model.is_lstm:
        return {}
    rnn, lin, found = model.rnn, model.lin, {}
    for layer, (w_ih, w_hh, *biases) in enumerate(rnn.all_weights):
        n_gate = len(w_hh) // rnn.hidden_size
        inputs = f"{w_ih.shape[1]} + {w_hh.shape[1]} + {len(biases)}"
        found[f"rnn_l{layer}"] = f"{n_gate} x {rnn.hidden_size} x ({inputs})"
    return found | {"lin": f"{lin.out_features} x ({lin.in_features} + 1)"}


@torch.inference_mode()
def explain(model: Model, length: int) -> Iterator[str]:
    """Yield lines of at most 80 columns about ``model``, tried on images of ``length``."""
    if not model.is_lstm:
        yield f"The answers to common questions are about an LSTM; this is {model.called}."
        return
    rnn = model.rnn
    # One image more than layers: so the one is not taken for the other.
    x = torch.rand(rnn.num_layers + 1, length, rnn.input_size)
    for claim, shown in (
        _biases(model),
        _gates(rnn, x),
        _last_step(rnn, x),
        _states(rnn, x),
        _batch_first(rnn, x),
        _first_state(rnn, x),
        _softmax(model.params.ydim),
    ):
        yield from textwrap.wrap(claim, 80)
        yield from (f"    {line}" for line in textwrap.wrap(shown, 76))


def _biases(model: Model) -> Answer:
    total = sum(values.numel() for values in model.parameters())
    spare = sum(b_hh.numel() for _, _, _, b_hh in model.rnn.all_weights)
    return (
        "A gate has two biases, bias_ih and bias_hh. They are added, so one would do.",
        f"Keras has one and counts {spare:,} parameters fewer: {total - spare:,}.",
    )


def _gates(rnn: nn.LSTM, x: Tensor) -> Answer:
    x = x[:1, :3]  # one image and three steps tell
    expected, _ = rnn(x)
    off = {
        order: _difference(compute_gates(rnn, x, order)[-1].hidden, expected)
        for order in itertools.permutations(ORDER)
    }
    best, second = sorted(off, key=off.__getitem__)[:2]
    return (
        f"The weights hold the gates in this order: {', '.join(best)}.",
        f"By hand, the steps then differ from nn.LSTM's by {off[best]:.1g}; in any of the "
        f"{len(off) - 1} other orders by {off[second]:.1g} or more.",
    )


def _last_step(rnn: nn.LSTM, x: Tensor) -> Answer:
    rnn_out, (hn, _) = rnn(x)
    both = nn.LSTM(rnn.input_size, rnn.hidden_size, batch_first=True, bidirectional=True)
    out, (last, _) = both(x)
    backward = out[:, -1, rnn.hidden_size :]
    return (
        "rnn_out[:, -1], the last step of the last layer, is hn[-1].",
        f"They differ by {_difference(rnn_out[:, -1], hn[-1]):.1g}. Not so with "
        "bidirectional=True: there the backward half of rnn_out[:, -1] has read one row, "
        f"hn[-1] all of them; they differ by {_difference(backward, last[-1]):.1g}.",
    )


def _states(rnn: nn.LSTM, x: Tensor) -> Answer:
    rnn_out, (hn, cn) = rnn(x)
    return (
        "hn and cn are [layers, batch, hidden], also with batch_first=True.",
        f"{len(x)} images, x {_shape(x)}, make rnn_out {_shape(rnn_out)}, hn {_shape(hn)} "
        f"and cn {_shape(cn)}.",
    )


def _batch_first(rnn: nn.LSTM, x: Tensor) -> Answer:
    without = copy.copy(rnn)  # the same weights
    without.batch_first = False
    n, length, _ = x.shape
    other = torch.cat([torch.rand_like(x[:1]), x[1:]])
    mixed = _difference(without(x)[0][-1], without(other)[0][-1])
    apart = _difference(rnn(x)[0][-1], rnn(other)[0][-1])
    return (
        "Without batch_first=True, images are taken for steps, and no error says so.",
        f"x {_shape(x)} is then read as {n} steps of {length} images. Another first image "
        f"changes the output of the last one by {mixed:.1g}; with batch_first=True by "
        f"{apart:.1g}.",
    )


def _first_state(rnn: nn.LSTM, x: Tensor) -> Answer:
    first, state = rnn(x)
    zeros = torch.zeros(rnn.num_layers, len(x), rnn.hidden_size)
    given = _difference(first, rnn(x, (zeros, zeros))[0])
    again = _difference(first, rnn(x)[0])
    passed = _difference(first, rnn(x, state)[0])
    return (
        "The first state need not be passed: it is zero. None is kept between batches.",
        f"With zeros passed, rnn_out differs by {given:.1g}. The same batch once more: "
        f"rnn_out differs by {again:.1g}; with the last state passed on, by {passed:.1g}.",
    )


def _softmax(n_class: int) -> Answer:
    label = torch.tensor([0])
    sure = 100.0 * one_hot(label, n_class)
    right = cross_entropy(sure, label).item()
    twice = cross_entropy(sure.softmax(1), label).item()
    return (
        "cross_entropy takes logits: it has a softmax inside.",
        f"For a sure and right answer the loss is {right:.2f}; with a softmax before it "
        f"{twice:.2f}, and of {n_class} classes no answer has less.",
    )


def _shape(values: Tensor) -> str:
    return str(list(values.shape)).replace(" ", "")  # no line is to end within it


def _difference(a: Tensor, b: Tensor) -> float:
    """Return the largest difference between two values at the same place."""
    return (a - b).abs().max().item()
