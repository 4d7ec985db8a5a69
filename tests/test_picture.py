"""Anyone's picture as MNIST would hold it: what must not matter does not."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw, ImageOps, TiffImagePlugin, features

from mnist_lstm.data.decoding import open_picture
from mnist_lstm.data.picture import prepare
from mnist_lstm.plumbing.errors import PictureError
from pictures import drawn, encoded, photographed
from strokes import DIGITS


def apart(a, b):
    """Return the mean difference of two images, in grey levels of 255."""
    return np.abs(a.astype(int) - b).mean()


@pytest.mark.parametrize("digit", DIGITS)
def test_a_drawing_is_like_mnist_whatever_its_ink_size_place_shadow_and_noise(digit):
    picture = drawn(digit)
    image = prepare(picture)
    assert (image.dtype, image.shape) == (np.uint8, (28, 28))
    rows, columns = (np.flatnonzero((image > 50).any(axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 in (20, 21)  # 20, between two pixels
    across, down = (image.sum(axis) for axis in (0, 1))
    at = np.arange(28)
    assert (down * at).sum() / down.sum() == pytest.approx(14, abs=0.1)
    assert (across * at).sum() / across.sum() == pytest.approx(14, abs=0.1)
    assert image.max() >= 250
    assert apart(prepare(ImageOps.invert(picture)), image) < 1
    assert apart(prepare(drawn(digit, side=150)), image) < 3
    large = Image.new("L", (2400, 1500), 255)
    large.paste(drawn(digit, side=1200), (1000, 100))
    assert apart(prepare(large), image) < 3
    assert apart(prepare(photographed(digit, pen=22)), image) < 6


@pytest.mark.parametrize("digit", [1, 4, 8])
def test_a_thin_pen_is_not_lost(digit):
    image = prepare(photographed(digit, pen=4)) / 255
    mean_ink = (image**2).sum() / image.sum()
    assert mean_ink > 0.7  # MNIST: 0.74 to 0.93 for 98 of 100 train images
    assert image.sum() > 0.55 * (prepare(drawn(digit, pen=22)) / 255).sum()


def test_specks_and_the_edge_of_the_paper_are_dropped_and_the_rest_of_the_ink_is_kept():
    expected = prepare(drawn(5))
    picture = drawn(5, side=600)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((30, 40, 42, 52), fill=0)
    draw.rectangle((0, 0, 25, 600), fill=30)
    assert apart(prepare(picture), expected) < 2

    broken = drawn(5)
    ImageDraw.Draw(broken).rectangle((0, 92, 280, 104), fill=255)  # its top apart
    assert (
        np.flatnonzero((prepare(broken) > 50).any(1))[0]
        == np.flatnonzero((expected > 50).any(1))[0]
    )

    tight = drawn(7).crop(ImageOps.invert(drawn(7)).getbbox())  # it touches the border
    assert apart(prepare(tight), prepare(drawn(7))) < 6


def test_every_kind_of_file_is_read_alike():
    grey = drawn(3)
    expected = prepare(grey)
    wide = np.asarray(grey).astype(np.uint16) * 257
    clear = Image.new("RGBA", grey.size, (0, 0, 0, 0))
    clear.putalpha(ImageOps.invert(grey))
    palette = Image.fromarray((np.asarray(grey) > 127).astype(np.uint8))
    palette.putpalette([0] * 6)
    animated = {"save_all": True, "append_images": [drawn(8)], "duration": 100}
    files = {
        **{mode: encoded(grey.convert(mode)) for mode in ("L", "RGB", "P")},
        "transparent": encoded(clear),
        "a transparent colour": encoded(palette, transparency=1),
        "16 bits": encoded(Image.fromarray(wide)),
        "1 bit": encoded(grey.convert("1", dither=Image.Dither.NONE)),
        "CMYK": encoded(grey.convert("CMYK"), "JPEG", quality=95),
        "animated": encoded(grey, "GIF", **animated),
        "TIFF": encoded(Image.fromarray(np.asarray(grey) / np.float32(255)), "TIFF"),
        "12 of 16 bits": encoded(Image.fromarray(wide // 16)),
        "32 bits": encoded(Image.fromarray(wide.astype(np.int32) * 999 - 9), "TIFF"),
        "colours of 16 bits": deep(65535),
    }
    try:
        files["WebP"] = encoded(grey, "WEBP", lossless=True)
    except OSError:  # a Pillow without it
        del files["WebP"]
    for name, data in files.items():
        assert apart(prepare(open_picture(data)), expected) < 3, name


def chunk(kind, body, flaw=0):
    """Return a part of a PNG; with a ``flaw``, its checksum is wrong."""
    checksum = struct.pack(">I", zlib.crc32(kind + body) ^ flaw)
    return struct.pack(">I", len(body)) + kind + body + checksum


def header(width, height):
    """Return a PNG that says how large it is, and holds next to nothing."""
    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def exif(kind=3, value=b"\0\6\0\0", count=1):
    """Return EXIF that turns a picture, beside a tag that Pillow cannot write again."""
    entries = struct.pack(">HHI", 0x0112, kind, count) + value
    entries += struct.pack(">HHIi", 0x0100, 9, 1, -1)
    return b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + entries + bytes(4)


def in_png(part):
    """Return a PNG on its side with another ``part``."""
    whole = encoded(drawn(3).rotate(90))
    return whole[:33] + part + whole[33:]


def in_jpeg(parts):
    """Return a JPEG on its side that begins with other ``parts``."""
    whole = encoded(drawn(3).rotate(90), "JPEG", quality=95)
    return whole[:3] + parts + whole[2:]


EXIF = b"\xe1" + struct.pack(">H", len(exif()) + 2) + exif()
TURNS = chunk(b"eXIf", exif()[6:])
TAGS = TiffImagePlugin.ImageFileDirectory_v2()
TAGS.tagtype[700] = 2  # text, which XMP is not
TAGS[274], TAGS[700] = 6, "odd"
LARGE = zlib.compress(bytes(2**21))  # Pillow reads a comment or profile of 2**20
TURNED = {
    "JPEG": encoded(drawn(3).rotate(90), "JPEG", quality=95, exif=exif()),
    "WebP": encoded(drawn(3).rotate(90), "WEBP", lossless=True, exif=exif()),
    "PNG": in_png(TURNS),
    "a long comment": in_png(TURNS + chunk(b"zTXt", b"a\0\0" + LARGE)),
    "a damaged comment": in_png(TURNS + chunk(b"tEXt", b"a\0b", flaw=1)),
    "a long profile": in_png(TURNS + chunk(b"iCCP", b"a\0\0" + LARGE)),
    "a cut resolution": in_png(TURNS + chunk(b"pHYs", b"")),
    "an animation of nothing": in_png(TURNS + chunk(b"acTL", b"")),
    "a cut JFIF": in_jpeg(b"\xe0\0\7JFIF\0\xff" + EXIF),
    "a cut profile": in_jpeg(b"\xe2\0\x0eICC_PROFILE\0\xff" + EXIF),
    "an odd MPO": in_jpeg(b"\xe2\0\6MPF\0\xff" + EXIF),
    "an odd XMP": encoded(drawn(3).rotate(90), "TIFF", tiffinfo=TAGS),
    "XMP": encoded(
        drawn(3).rotate(90), "JPEG", quality=95, xmp=b'<a tiff:Orientation="6"/>'
    ),
}
UNTURNED = {
    "nothing": exif(value=b"\0\0\0\0"),
    "9": exif(value=b"\0\x09\0\0"),
    "text": exif(2, b"6\0\0\0", 2),
    "a float": exif(11, struct.pack(">f", 6)),
    "a fraction by 0": exif(5, bytes(4)),
    "cut short": exif()[:20],
    "no EXIF": b"Exif\0\0?",
}


@pytest.mark.parametrize("name", TURNED)
def test_of_all_that_lies_beside_the_pixels_only_which_way_is_up_matters(name):
    assert apart(prepare(open_picture(TURNED[name])), prepare(drawn(3))) < 3


@pytest.mark.parametrize("name", UNTURNED)
def test_a_direction_that_is_none_turns_nothing(name):
    lying, tags = drawn(3).rotate(90), UNTURNED[name]
    files = [encoded(lying, kind, quality=95, exif=tags) for kind in ("JPEG", "WEBP")]
    for data in (*files, in_png(chunk(b"eXIf", tags[6:]))):
        assert apart(prepare(open_picture(data)), prepare(lying)) < 3


def deep(highest):
    """Return a PNG in colours of 16 bits, which Pillow itself cannot write."""
    rows = (np.asarray(drawn(3)).astype(">u2") * (highest / 255)).astype(">u2")
    rows = rows[..., None].repeat(3, 2).reshape(280, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    size = struct.pack(">IIBBBBB", 280, 280, 16, 2, 0, 0, 0)
    parts = (b"IHDR", size), (b"IDAT", zlib.compress(data)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


BAD = {
    "nothing": (b"", "an empty file"),
    "text": (b"not a picture\n", "not a picture that can be read"),
    "a photo of a phone": (b"\0\0\0\x18ftypheic" + bytes(50), "HEIC, which is not read"),
    "cut short": (encoded(drawn(3))[:900], "damaged picture: "),
    "a PNG cut short": (in_png(TURNS)[:900], "damaged picture: "),
    "dark colours of 16 bits": (deep(4095), "almost black: of colours of 16 bits"),
    "100 megapixels": (
        header(10_000, 10_000),
        "10,000 x 10,000 pixels are more than the 64 megapixels allowed; scale it down",
    ),
    "a bomb": (header(60_000, 60_000), "it is more than the 64 megapixels allowed"),
}
if features.check("avif"):  # whose decoder raises a RuntimeError
    broken = encoded(drawn(3), "AVIF").replace(b"iloc", b"????")
    BAD["a damaged AVIF"] = (broken, "damaged picture: Failed to decode")


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_refused_in_a_line(name):
    data, message = BAD[name]
    with pytest.raises(PictureError) as refused:
        open_picture(data)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_paper_alone_has_no_ink():
    noise = np.random.default_rng(0).normal(200, 5, (900, 1200))
    shaded = noise * np.linspace(1, 0.6, 1200)
    for paper in (shaded, *(np.full((300, 200), grey) for grey in (0, 128, 255))):
        with pytest.raises(PictureError, match="nothing to see"):
            prepare(Image.fromarray(paper.clip(0, 255).astype(np.uint8)))


@settings(max_examples=150, deadline=None)
@given(
    arrays.arrays(
        np.uint8,
        st.tuples(st.integers(1, 70), st.integers(1, 70), st.just(4)),
        fill=st.just(255),
    )
)
def test_any_picture_is_an_image_or_refused(values):
    try:
        image = prepare(Image.fromarray(values))
    except PictureError:
        return
    assert (image.dtype, image.shape) == (np.uint8, (28, 28))
    assert image.any()
