"""Sequences that are easy to tell apart, as ``prepare`` leaves them."""

import torch

from mnist_lstm.data.splits import Split


def make_split(n, length, q, classes, shortest=None, seed=0, **scaling):
    """Return ``n`` sequences of up to ``length`` steps of ``q`` values, standardised.

    Slow waves with noise; their speed, from 40% of a sequence on, is that of the class, so
    the belief changes while it is read.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % len(classes)
    lengths = torch.randint(shortest or length, length + 1, (n,), generator=generator)
    lengths[:2] = torch.tensor([length, shortest or length])
    t = torch.arange(length)[None, :, None] / lengths[:, None, None]
    phase = torch.rand(n, 1, q, generator=generator) * 2
    speed = 4 + 10 * (t > 0.4) * labels[:, None, None] / len(classes)
    noise = torch.randn(n, length, q, generator=generator)
    x = 1.3 * (speed * t + phase + torch.arange(q) / 5).sin() + 0.3 * noise
    x[torch.arange(length) >= lengths[:, None]] = 0
    mean, deviation = torch.arange(q) * 10.0, torch.arange(q) + 0.5
    known = {"mean": mean.tolist(), "deviation": deviation.tolist(), "missing": "refuse"}
    even = shortest is None
    return Split(
        *(x, labels, tuple(classes)),
        picture="",
        lengths=None if even else lengths,
        scaling=known | scaling,
    )
