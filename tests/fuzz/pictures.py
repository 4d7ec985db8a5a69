"""Feed the reader of pictures: ``python tests/fuzz/pictures.py 50000``.

Every format that Pillow has here, damaged: what is accepted becomes an image.
"""

import io
import sys
import time
from collections.abc import Iterator

import numpy as np
from damage import damaged
from feeding import HANG, feed
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from mnist_lstm.picture import FORMATS, image_of, open_picture

MODES = ("L", "RGB", "RGBA", "P", "1", "I;16", "F", "CMYK")
WAYS: dict[str, dict] = {  # others than its own
    "JPEG": {"progressive": True},
    "TIFF": {"compression": "tiff_lzw"},
    "GIF": {"save_all": True, "append_images": [Image.new("L", (40, 30), 90)]},
    "WEBP": {"lossless": True},
}


def encoded(mode: str, kind: str, size: tuple[int, int] = (40, 30), **way: object) -> bytes:
    """Return a seven of ``size`` as a file; none where the format lacks the mode."""
    grey = Image.new("L", size, 255)
    ends = np.array([(0.3, 0.2), (0.7, 0.2), (0.4, 0.8)]) * size
    ImageDraw.Draw(grey).line([tuple(point) for point in ends], 0, max(1, min(size) // 8))
    wide = mode in ("I;16", "F")  # not of its own
    picture = Image.fromarray(np.asarray(grey).astype("<u2" if mode == "I;16" else "f4"))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "turned"
    data = io.BytesIO()
    try:
        (picture if wide else grey.convert(mode)).save(data, kind, exif=exif, **way)
    except (OSError, ValueError, KeyError):
        return b""
    return data.getvalue()


def large() -> Iterator[tuple[bytes, str]]:
    """Return small files of nearly as many pixels as are allowed."""
    lzw = {"compression": "tiff_lzw"}
    yield encoded("L", "TIFF", (40, 2**20), **lzw), "mnist"
    yield encoded("F", "TIFF", (8000, 8000), **lzw), "mnist"
    yield encoded("RGBA", "PNG", (8000, 8000), compress_level=1), "scale"


def main(n: int) -> None:
    """Feed it the large ones and ``n`` others."""

    def read(file: tuple[bytes, str]) -> None:
        data, how = file
        image = image_of(open_picture(data), how, 28, 20)
        assert (image.dtype, image.shape) == (np.uint8, (28, 20))

    Image.init()  # a Pillow may lack some
    kinds = [kind for kind in FORMATS if kind in Image.SAVE]
    originals = [
        encoded(mode, kind, **way)
        for kind in kinds
        for mode in MODES
        for way in ({}, WAYS.get(kind, {}))
    ]
    known = st.sampled_from(list(filter(None, originals)))
    hows = st.sampled_from(("mnist", "scale"))
    for file in large():
        start = time.process_time()
        read(file)
        assert time.process_time() - start < HANG
    feed(n, st.tuples(damaged(known), hows), read)


if __name__ == "__main__":
    main(int(sys.argv[1]))
