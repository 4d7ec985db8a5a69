"""Sequences standardised: each feature by its mean and deviation over the train split."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mnist_lstm.data.splits import Split

_CHUNK = 4096  # sequences at a time, in float64
_DIM = 0.15  # pixels of less deviation hardly move an LSTM's first states; MNIST: 0.31
_FAR = 3  # times a train deviation: hardly the same units


def standardise(splits: dict[str, Split], missing: str) -> dict[str, Split]:
    """Return ``splits`` with values of mean 0 and deviation 1; images stay as they are.

    Feature by feature, over the real steps of the train split. Padding and missing values
    become 0, the mean. The values are changed in place, for they may fill half the memory.

    Returns:
        Splits whose ``scaling`` has ``mean`` and ``deviation``, a number a feature,
        ``missing``, as prepare.missing says, and ``features``, their names, where the data
        tell them. A constant feature has the deviation 1.
    """
    train = splits["train"]
    if train.is_images:
        _tell_dim_images(train)
        return splits
    mean, deviation = moments(train)
    constant = (deviation == 0).nonzero().flatten().tolist()
    if constant:
        features = ", ".join(_called(train, i) for i in constant[:10])
        print(f"train: constant, and so of no use: {features}")
        deviation[constant] = 1
    scaling = {"mean": mean.tolist(), "deviation": deviation.tolist(), "missing": missing}
    scaling |= train.scaling
    found = {}
    for name, split in splits.items():
        split.x.sub_(mean).div_(deviation).nan_to_num_(nan=0.0)
        split.x.masked_fill_(~real_steps(split)[:, :, None], 0)
        found[name] = replace(split, scaling=scaling)
        if name != "train":
            _tell_other_units(name, found[name])
    return found


def standardised(x: Tensor, scaling: Mapping[str, Any]) -> Tensor:
    """Return raw values, float32 [L x Q], as a model of this ``scaling`` reads them."""
    mean, deviation = (torch.tensor(scaling[name]) for name in ("mean", "deviation"))
    return ((x - mean) / deviation).nan_to_num(nan=0.0)


def moments(split: Split) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each feature, float32 [Q], of what is known."""
    n = total = torch.zeros(split.x.shape[2], dtype=torch.float64)
    parts = list(zip(split.x.split(_CHUNK), real_steps(split).split(_CHUNK), strict=True))
    for x, real in parts:
        known = x[real]
        n = n + (~known.isnan()).sum(0)
        total = total + known.nansum(0, dtype=torch.float64)
    mean = total / n
    squares = sum((x[real].double() - mean).square().nansum(0) for x, real in parts)
    return mean.float(), (squares / n).sqrt().float()


def real_steps(split: Split) -> Tensor:
    """Return bool [N x L]: which steps are no padding."""
    steps = torch.arange(split.x.shape[1])
    if split.lengths is None:
        return torch.ones(len(split), len(steps), dtype=torch.bool)
    return steps < split.lengths[:, None]


def _called(split: Split, feature: int) -> str:
    names = split.scaling.get("features")
    return f"feature {feature + 1}" + (f" ({names[feature]})" if names else "")


def _tell_other_units(name: str, split: Split) -> None:
    mean, deviation = moments(split)
    far = (mean.abs() > _FAR) | (deviation > _FAR) | (deviation < 1 / _FAR)
    places = far.nonzero().flatten().tolist()
    if places:
        i = places[0]
        print(
            f"{name}: {len(places)} of {len(far)} features lie elsewhere than in train; "
            f"{_called(split, i)} has mean {mean[i]:.2g}, deviation {deviation[i]:.2g}; "
            "train has 0 and 1: other units, or another source?"
        )


def _tell_dim_images(train: Split) -> None:
    counts = train.x.flatten().bincount(minlength=256).double()
    greys = torch.arange(256).double() / 255
    mean, square = (counts @ v / counts.sum() for v in (greys, greys**2))
    deviation = (square - mean**2).sqrt().item()
    if deviation < _DIM:
        print(
            f"train: pixels (0 to 1) have a standard deviation of {deviation:.2f}, MNIST's "
            "0.31: of so little a model may learn nothing; give what is no picture as "
            "sequences, see docs/your-own.md"
        )
