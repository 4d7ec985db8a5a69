"""From a file of anyone's to a picture: decoded, upright, in RGBA or in wide greys."""

import io
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, TiffTags, UnidentifiedImageError

from mnist_lstm.plumbing.errors import PictureError, one_line

MAX_PIXELS = 64_000_000
MAX_BYTES = 256 * 2**20  # of a file
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM")
DEPTHS = (8, 10, 12, 14, 16)  # bits of a grey, in cameras, scanners and microscopes
Greys = Mapping[str, Sequence[float]]  # what is black and white in the modes I and F

_TOO_BIG = f"more than the {MAX_PIXELS // 10**6} megapixels allowed; scale it down"
_T = Image.Transpose
_TURNS = {  # by EXIF's number
    **{2: _T.FLIP_LEFT_RIGHT, 3: _T.ROTATE_180, 4: _T.FLIP_TOP_BOTTOM, 5: _T.TRANSPOSE},
    **{6: _T.ROTATE_270, 7: _T.TRANSVERSE, 8: _T.ROTATE_90},
}


def read_file(path: Path) -> bytes:
    """Return the bytes of ``path``, one more than a picture may have at most.

    Raises:
        PictureError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # the latter: a null byte in its name
        raise PictureError(getattr(error, "strerror", None) or str(error)) from None


def open_picture(source: bytes | Image.Image) -> Image.Image:
    """Decode the bytes of a file, or a copy of the picture that ``source`` is.

    Returns:
        The first frame, upright, in RGBA; what is wide, in I or F.

    Raises:
        PictureError: it is empty, no picture, damaged, or larger than ``MAX_PIXELS``.
    """
    if not source:
        raise PictureError("an empty file")
    if isinstance(source, bytes) and len(source) > MAX_BYTES:
        raise PictureError(f"more than {MAX_BYTES // 2**20} MB, which no picture is")
    if isinstance(source, Image.Image) and 0 in source.size:
        raise PictureError("a picture without pixels")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its size, and of odd metadata
            return _decoded(source)
    except (PictureError, MemoryError):
        raise
    except UnidentifiedImageError:
        advice = "save it as PNG, JPEG or WebP"
        raise PictureError(f"not a picture that can be read; {advice}") from None
    except Image.DecompressionBombError:
        raise PictureError(f"it is {_TOO_BIG}") from None
    except Exception as error:  # what decoders raise for damaged files is of any type
        reason = one_line(str(error) or repr(error))
        raise PictureError(f"damaged picture: {reason}") from None


def scaled(picture: Image.Image, height: int, width: int) -> np.ndarray:
    """Return all of ``picture`` [height x width]: uint8, or float32 of what is wide."""
    grey = picture.convert("F") if is_wide(picture) else _on_white(picture)
    # A picture of that size keeps its greys.
    return np.asarray(grey.resize((width, height), Image.Resampling.BILINEAR))


def is_wide(picture: Image.Image) -> bool:
    """Say whether this has greys of more than 8 bits: whole numbers (I) or others (F)."""
    return picture.mode in ("I", "F")


def greys_of(mode: str, values: Any) -> tuple[float, float]:
    """Return what is black and what is white where wide pictures hold ``values``.

    Whole numbers are of 8, 10, 12, 14 or 16 bits, the fewest that hold them. In others, and
    where one is negative, the lowest is black and the highest white.
    """
    lowest, highest = ends_of(values)
    depths = (2.0**bits - 1 for bits in DEPTHS if highest < 2**bits)
    if mode == "I" and lowest >= 0 and (white := next(depths, None)):
        return 0.0, white
    return lowest, highest


def ends_of(values: Any) -> tuple[float, float]:
    """Return the lowest and the highest of ``values``, a picture or an array."""
    values = np.asarray(values)
    return float(values.min()), float(values.max())


def levels(values: Any, black: float, white: float) -> np.ndarray:
    """Return ``values`` as uint8: 0 where they are ``black``, 255 where ``white``."""
    share = (np.asarray(values, np.float32) - black) / (white - black or 1)
    return np.clip(share * 255 + 0.5, 0, 255).astype(np.uint8)


def _decoded(source: bytes | Image.Image) -> Image.Image:
    if isinstance(source, Image.Image):
        picture = source.copy()
    else:
        if source.startswith(b"\x89PNG\r\n\x1a\n"):
            source = b"".join(_chunks(source))
        elif source.startswith(b"\xff\xd8"):
            source = b"".join(_segments(source))
        Image.init()
        formats = [name for name in FORMATS if name in Image.OPEN]  # a Pillow may lack some
        picture = Image.open(io.BytesIO(source), formats=formats)
    if picture.width * picture.height > MAX_PIXELS:
        size = f"{picture.width:,} x {picture.height:,} pixels are"
        raise PictureError(f"{size} {_TOO_BIG}")
    halved = any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ()))
    if picture.format == "TIFF":  # whose EXIF and XMP Pillow reads as it loads it
        picture.info.pop("xmp", None)
        for group in TiffTags.TAGS_V2_GROUPS:
            picture.getexif().pop(group, None)
    picture.load()
    return _plain(_upright(picture), halved)


def _chunks(data: bytes) -> Iterator[bytes]:
    """Yield the parts of a PNG that make its pixels or say which way is up.

    Pillow refuses a whole picture for a comment, profile or resolution that is not whole.
    """
    at = 8
    yield data[:at]
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        kind, checksum = data[at + 4 : at + 8], int.from_bytes(data[end - 4 : end])
        turns = kind == b"eXIf" and zlib.crc32(data[at + 4 : end - 4]) == checksum
        if kind[:1].isupper() or kind == b"tRNS" or turns:
            yield data[at:end]
        at = end


def _segments(data: bytes) -> Iterator[bytes]:
    """Yield the parts of a JPEG that make its pixels or say which way is up."""
    at = 2
    yield data[:at]
    while data[at : at + 1] == b"\xff" and data[at + 1] in (*range(0xE0, 0xF0), 0xFE):
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
        if data[end : end + 1] != b"\xff":
            break
        if data[at + 1] in (0xE1, 0xEE):  # EXIF and XMP; Adobe's, which tells the colours
            yield data[at:end]
        at = end
    yield data[at:]


def _upright(picture: Image.Image) -> Image.Image:
    """Turn ``picture`` as its EXIF says, in which nothing else matters."""
    try:
        turn = _TURNS[picture.getexif()[ExifTags.Base.Orientation]]
    except Exception:  # there is none, or it is damaged in any way
        return picture
    return picture.transpose(turn)


def _plain(picture: Image.Image, halved: bool) -> Image.Image:
    """Return ``picture`` in RGBA or, where it is wide, in I or F without odd numbers.

    Of colours of 16 bits Pillow keeps the upper 8, so it is told whether they are
    ``halved``.
    """
    if picture.mode.startswith("I"):
        return picture.convert("I")
    if picture.mode == "F":
        values = np.asarray(picture)
        usual = values[np.abs(values) < 1e30]  # not infinite, and no gap
        low, high = ends_of(usual) if usual.size else (0, 0)
        return Image.fromarray(np.nan_to_num(values, nan=low).clip(low, high))
    plain = picture.convert("RGBA")
    if halved and np.asarray(_on_white(plain)).max() < 64:
        raise PictureError(
            "almost black: of colours of 16 bits only the upper 8 are read; save it with 8"
        )
    return plain


def _on_white(picture: Image.Image) -> Image.Image:
    """Return ``picture`` in grey; transparency lies on white."""
    rgba = picture.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("L")
