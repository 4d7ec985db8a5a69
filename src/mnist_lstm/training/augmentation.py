"""Data augmentation: train examples are distorted anew in each batch.

A whole batch at once, on its device. What is drawn comes from PyTorch's own generator
there, which checkpoints hold: a run repeats and resumes bit for bit.
"""

import functools
import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from mnist_lstm.plumbing.errors import ParamsError
from mnist_lstm.plumbing.params import AugmentParams

OF_IMAGES = ("rotation", "scale", "shear", "shift", "elastic")  # each an amplitude
OF_SEQUENCES = ("noise",)
_KNOTS = 7  # an elastic field is drawn at 7 x 7 points, some 5 pixels apart


def strength_at(params: AugmentParams, step: int, steps: int) -> float:
    """Return the share of each amplitude in ``step`` (from 0) of a run of ``steps``.

    It is 1 until the share ``fade`` of the steps is left, and falls in a line over these.
    """
    fading, left = params.fade * steps, steps - step
    return left / fading if left < fading else 1.0


def refuse_misfits(params: AugmentParams, images: bool) -> None:
    """Refuse what distorts images where the data are sequences, and the reverse."""
    wrong = OF_SEQUENCES if images else OF_IMAGES
    fits = f"0: the data are {'images' if images else 'sequences'}"
    values = {name: getattr(params, name) for name in wrong}
    found = [ParamsError.of(f"augment.{name}", fits, v) for name, v in values.items() if v]
    if found:
        raise ParamsError(*map(str, found))


def augment(x: Tensor, params: AugmentParams, strength: Tensor) -> Tensor:
    """Return examples [B x L x Q], each distorted in its own way.

    By up to the share ``strength`` [] of each amplitude in ``params``. Images are rotated,
    sheared, scaled, shifted and displaced; what comes from outside is 0. To sequences noise
    is added. Where every amplitude is 0, that is ``x`` itself, and nothing is drawn.
    """
    if params.noise:
        x = x + params.noise * strength * torch.randn_like(x)
    if not any(getattr(params, name) for name in OF_IMAGES):
        return x
    images = x.unsqueeze(1)  # one channel
    maps = _affine(len(x), params, strength)
    grid = affine_grid(maps, list(images.shape), align_corners=False)
    if params.elastic:
        grid = grid + _elastic(x, params.elastic, strength)
    return grid_sample(images, grid, align_corners=False).squeeze(1)


def _affine(n: int, params: AugmentParams, strength: Tensor) -> Tensor:
    """Return a map [n x 2 x 3] for each image: where each point of the result comes from.

    In coordinates from -1 to 1. A point is scaled, sheared, turned and shifted.
    """
    chance = torch.empty(n, 6, device=strength.device).uniform_(-1, 1) * strength
    turn, shear, scale_x, scale_y, shift_x, shift_y = chance.unbind(1)
    turn = turn * math.radians(params.rotation)
    shear = shear * params.shear
    scale_x, scale_y = 1 + scale_x * params.scale, 1 + scale_y * params.scale
    shift_x, shift_y = 2 * params.shift * shift_x, 2 * params.shift * shift_y
    cos, sin = turn.cos(), turn.sin()
    upper = torch.stack([cos * scale_x, (cos * shear - sin) * scale_y, shift_x])
    lower = torch.stack([sin * scale_x, (sin * shear + cos) * scale_y, shift_y])
    return torch.stack([upper, lower]).permute(2, 0, 1)


def _elastic(x: Tensor, pixels: float, strength: Tensor) -> Tensor:
    """Return smooth displacements [B x L x Q x 2] in coordinates from -1 to 1.

    They are normal with a deviation of ``strength`` times ``pixels`` at each knot, and
    smooth between knots.
    The idea: Simard, Steinkraus and Platt, https://doi.org/10.1109/ICDAR.2003.1227801
    """
    n, length, q = x.shape
    knots = torch.randn(n, 2, _KNOTS, _KNOTS, device=x.device) * strength
    down, across = _bicubic(length, x.device), _bicubic(q, x.device)
    right, below = (down @ knots @ across.T).unbind(1)
    return torch.stack([right * (2 * pixels / q), below * (2 * pixels / length)], 3)


@functools.cache
def _bicubic(n: int, device: torch.device) -> Tensor:
    """Return the weight [n x _KNOTS] of each knot in each of ``n`` values between them.

    On CUDA ``interpolate`` takes another algorithm where that has to be deterministic: 140
    kernels. Two products are the same few on every device, if not to the last bit.
    """
    units = torch.eye(_KNOTS).view(1, _KNOTS, _KNOTS, 1)  # a knot in each channel
    spread = interpolate(units, (n, 1), mode="bicubic", align_corners=True)
    return spread.view(_KNOTS, n).T.contiguous().to(device)
