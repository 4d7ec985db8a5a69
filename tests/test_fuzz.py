"""What strangers send, pictures and models, is read or refused: no crash, no long wait."""

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from defaults import DIGITS, model_params
from mnist_lstm.data.decoding import FORMATS, open_picture
from mnist_lstm.data.picture import image_of
from mnist_lstm.models.base import Reads
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.models.store import load_model, save_model
from mnist_lstm.plumbing.errors import UserError
from pictures import drawn, encoded

MODES = ("L", "RGB", "RGBA", "P", "1", "I;16", "F", "CMYK")
HOSTILE = (b"\0", b"\xff", b"\n", b'"', b"[", b"{", b"\x1b[31m", b"NaN", b"9" * 400)
PARAMS = model_params(hdim=2, n_layer=1)


@st.composite
def damaged(draw, originals):
    """Return one of ``originals``, bytes, with up to 4 damages."""
    content = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        end = draw(st.sampled_from((at, at + 1, at + 40, len(content))))
        repeated = content[at : at + 40] * 9
        new = draw(st.sampled_from((b"", repeated, *HOSTILE)) | st.binary(max_size=8))
        content = content[:at] + new + content[end:]
    return content


def sevens():
    """Yield a seven in each format and mode that it can hold, turned by EXIF; and noise."""
    grey = drawn(7, side=40)
    for size in ((1, 1), (1, 70), (60, 2), (30, 40)):
        values = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        yield encoded(Image.fromarray(values), "BMP")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "turned"
    for mode in MODES:
        wide = {"I;16": "<u2", "F": "f4"}.get(mode)
        values = np.asarray(grey).astype(wide)
        picture = Image.fromarray(values) if wide else grey.convert(mode)
        for kind in FORMATS:
            try:
                yield encoded(picture, kind, exif=exif)
            except (OSError, ValueError, KeyError):
                continue


def feed(n, originals, read):
    """Have ``read`` read or refuse ``n`` damaged files; of so many it must do both."""
    refused = []

    @settings(
        max_examples=n,
        deadline=20_000,  # ms; machines are shared
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(originals))
    def one(content):
        told = None
        try:
            read(content)
        except UserError as error:
            told = str(error)
        assert told is None or told.isprintable()
        refused.append(told is not None)

    one()
    assert 0 < sum(refused) < len(refused)


FEW_AND_MANY = pytest.mark.parametrize(
    "n", [300, pytest.param(50_000, marks=pytest.mark.slow)]
)


@FEW_AND_MANY
def test_a_picture_of_any_bytes_becomes_an_image_or_is_refused(n):
    def read(content):
        for how in ("mnist", "scale"):
            image = image_of(open_picture(content), how, 28, 20)
            assert (image.dtype, image.shape) == (np.uint8, (28, 20))

    feed(n, list(sevens()), read)


@FEW_AND_MANY
def test_a_model_of_any_bytes_is_whole_or_is_refused(n, tmp_path):
    path = tmp_path / "x.safetensors"
    save_model(LSTMClassifier(PARAMS), path, Reads(DIGITS, "mnist", 28))
    originals = [path.read_bytes(), safetensors.torch.save({"a": torch.zeros(2)})]

    def read(content):
        path.write_bytes(content)
        assert load_model(path, PARAMS).reads.classes == DIGITS

    feed(n, originals, read)
