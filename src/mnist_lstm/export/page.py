"""The page on which one watches the model read a digit that one draws, in one file.

Of a model of sequences it shows how test sequences were read.

The source lies in ``page/``: plain HTML, CSS and JavaScript. Here style, scripts, weights
and images are put into it, so that it opens from disk, without a server or a network.
"""

import base64
import copy
import hashlib
import json
import re
from pathlib import Path

import torch
from torch import Tensor

from mnist_lstm.models.base import Model

# How far a logit may move where weights are rounded to float16, for half the bytes. To
# first order, rounding moves those of the default model with a standard deviation of 0.0003
# to 0.0012, of which this is eight. Where the two best logits are further apart than twice
# that, the class stays.
FLOAT16_BOUND = 0.01

_LINKS = {
    "script": '<script src="{}"></script>',
    "style": '<link rel="stylesheet" href="{}">',
}
_DATA = '<script type="application/json" id="data"></script>'
_POLICY = '<meta name="policy">'


def encode_weights(model: Model, x: Tensor) -> dict:
    """Return the model's weights as JSON can hold them: name and shape of each, and values.

    They are in float16 where this moves no logit of the images ``x`` [N x L x Q] by more
    than ``FLOAT16_BOUND``, else in float32; one after the other, little-endian.
    """
    weights, rounded = model.state_dict(), round_to_float16(model)
    with torch.inference_mode():
        moved = (rounded(x) - model(x)).abs().max()
    # Not so where a weight above 65,504 becomes NaN.
    kind = "float16" if moved <= FLOAT16_BOUND else "float32"
    data = b"".join(v.numpy().astype(kind).tobytes() for v in weights.values())
    return {
        "type": kind,
        "tensors": [[name, list(v.shape)] for name, v in weights.items()],
        "base64": base64.b64encode(data).decode(),
    }


def round_to_float16(model: Model) -> Model:
    """Return a copy of ``model`` whose weights are those that float16 can hold."""
    rounded = copy.deepcopy(model)
    rounded.load_state_dict({k: v.half().float() for k, v in model.state_dict().items()})
    return rounded.eval()


def is_dark(images: Tensor) -> bool:
    """Say whether ``images`` [N x L x Q] are light on dark, by their borders' grey."""
    sides = images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]
    return bool(torch.cat([side.flatten() for side in sides]).float().mean() < 128)


def some_steps(length: int, n_class: int) -> Tensor:
    """Return which steps of a sequence are shown, int64: all, or some, the last with them.

    The more classes, the fewer, or the page would be as large as its beliefs.
    """
    most = min(length, max(30, min(200, 20_000 // n_class)))
    return torch.linspace(0, length - 1, most).round().long()


def to_greys(x: Tensor) -> Tensor:
    """Return what is read, [L x Q], as uint8: 128 is a sequence's mean, a deviation 42."""
    return x if x.dtype == torch.uint8 else (x * 42 + 128).round().clamp(1, 255).byte()


def encode_image(image: Tensor) -> str:
    """Return a uint8 image [L x Q] as base64, row after row."""
    return base64.b64encode(image.contiguous().numpy().tobytes()).decode()


def assemble(folder: Path, data: dict) -> bytes:
    """Return the page whose source is ``folder``, with ``data`` in it.

    No character of ``data`` can end the script that holds it. The page's own policy lets it
    run these scripts and no other, and send no request.
    """
    html = (folder / "index.html").read_text(encoding="utf-8")
    policy = "default-src 'none'; img-src blob: data:; "
    for tag, link in _LINKS.items():
        allowed = ""
        for name in re.findall(link.format('([^"]+)'), html):
            text = (folder / name).read_text(encoding="utf-8")
            html = html.replace(link.format(name), f"<{tag}>{text}</{tag}>")
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            allowed += f" 'sha256-{digest}'"
        policy += f"{tag}-src{allowed}; "
    policy += "base-uri 'none'; form-action 'none'"
    html = html.replace(
        _POLICY, f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    )
    # Valid JSON still, and no "</script>" or "<!--" in it.
    text = json.dumps(data, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")
    return html.replace(_DATA, _DATA.replace("></", f">{text}</")).encode()
