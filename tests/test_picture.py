"""Anyone's picture as MNIST would hold it: what must not matter does not."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps, TiffImagePlugin

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


def chunk(kind, body, flaw=0):
    """Return a part of a PNG; with a ``flaw``, its checksum is wrong."""
    checksum = struct.pack(">I", zlib.crc32(kind + body) ^ flaw)
    return struct.pack(">I", len(body)) + kind + body + checksum


def header(width, height, pixels=b"", depth=8, colours=0):
    """Return a PNG that says how large it is; without ``pixels`` it holds nothing."""
    size = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    parts = (b"IHDR", size), (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def deep(highest):
    """Return a PNG in colours of 16 bits, which Pillow itself cannot write."""
    rows = (np.asarray(GREY) * (highest / 255)).astype(">u2")[..., None].repeat(3, 2)
    return header(280, 280, b"".join(b"\0" + row.tobytes() for row in rows), 16, 2)


def exif(kind=3, value=b"\0\6\0\0", count=1):
    """Return EXIF that turns a picture, beside a tag that Pillow cannot write again."""
    entries = struct.pack(">HHI", 0x0112, kind, count) + value
    entries += struct.pack(">HHIi", 0x0100, 9, 1, -1)
    return b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + entries + bytes(4)


def in_png(*parts):
    """Return a PNG on its side with more ``parts``."""
    whole = encoded(LYING)
    return whole[:33] + b"".join(chunk(*part) for part in parts) + whole[33:]


def in_jpeg(part):
    """Return a JPEG on its side that begins with another ``part``, and EXIF."""
    whole = encoded(LYING, "JPEG", quality=95)
    turns = b"\xff\xe1" + struct.pack(">H", len(exif()) + 2) + exif()
    return whole[:2] + part + turns + whole[2:]


GREY = drawn(3)
LYING = GREY.rotate(90)
WIDE = np.asarray(GREY).astype(np.uint16) * 257
CLEAR = Image.new("RGBA", GREY.size, (0, 0, 0, 0))
CLEAR.putalpha(ImageOps.invert(GREY))
PALETTE = Image.fromarray((np.asarray(GREY) > 127).astype(np.uint8))
PALETTE.putpalette([0] * 6)
TURNS = b"eXIf", exif()[6:]
TAGS = TiffImagePlugin.ImageFileDirectory_v2()
TAGS.tagtype[700] = 2  # text, which XMP is not
TAGS[274], TAGS[700] = 6, "odd"
LARGE = b"a\0\0" + zlib.compress(bytes(2**21))  # Pillow reads a comment of 2**20
READ = {
    **{mode: encoded(GREY.convert(mode)) for mode in ("L", "RGB", "P")},
    "transparent": encoded(CLEAR),
    "a transparent colour": encoded(PALETTE, transparency=1),
    "1 bit": encoded(GREY.convert("1", dither=Image.Dither.NONE)),
    "16 bits": encoded(Image.fromarray(WIDE)),
    "12 of 16 bits": encoded(Image.fromarray(WIDE // 16)),
    "32 bits": encoded(Image.fromarray(WIDE.astype(np.int32) * 999 - 9), "TIFF"),
    "floats": encoded(Image.fromarray(np.asarray(GREY) / np.float32(255)), "TIFF"),
    "colours of 16 bits": deep(65535),
    "CMYK": encoded(GREY.convert("CMYK"), "JPEG", quality=95),
    "animated": encoded(GREY, "GIF", save_all=True, append_images=[drawn(8)]),
    "JPEG, turned": encoded(LYING, "JPEG", quality=95, exif=exif()),
    "WebP, turned": encoded(LYING, "WEBP", lossless=True, exif=exif()),
    "PNG with a long comment": in_png(TURNS, (b"zTXt", LARGE)),
    "PNG with a long profile": in_png(TURNS, (b"iCCP", LARGE)),
    "PNG with a damaged comment": in_png(TURNS, (b"tEXt", b"a\0b", 1)),
    "JPEG with a cut JFIF": in_jpeg(b"\xff\xe0\0\7JFIF\0"),
    "JPEG with a cut profile": in_jpeg(b"\xff\xe2\0\x0eICC_PROFILE\0"),
    "TIFF with an odd XMP": encoded(LYING, "TIFF", tiffinfo=TAGS),
    "turned by XMP": encoded(LYING, "JPEG", xmp=b'<a tiff:Orientation="6"/>'),
}
REFUSED = {
    "nothing": (b"", "an empty file"),
    "text": (b"not a picture\n", "not a picture that can be read; save it as PNG, JPEG"),
    "cut short": (encoded(GREY)[:900], "damaged picture: "),
    "dark colours of 16 bits": (deep(4095), "almost black: of colours of 16 bits"),
    "a bomb": (header(60_000, 60_000), "it is more than the 64 megapixels allowed"),
}


@pytest.mark.parametrize("name", READ)
def test_whatever_the_file_holds_beside_the_picture_it_is_read_alike(name):
    assert apart(prepare(open_picture(READ[name])), prepare(GREY)) < 3


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_in_a_line(name):
    data, message = REFUSED[name]
    with pytest.raises(PictureError) as refused:
        open_picture(data)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_direction_that_is_none_turns_nothing():
    nine, text, cut = exif(value=b"\0\x09\0\0"), exif(2, b"6\0\0\0", 2), exif()[:20]
    files = [encoded(LYING, "JPEG", exif=tags) for tags in (nine, text, cut, b"Exif\0\0?")]
    for data in (*files, in_png((b"eXIf", cut[6:])), in_png((*TURNS, 1))):
        assert apart(prepare(open_picture(data)), prepare(LYING)) < 3


def test_paper_alone_has_no_ink():
    noise = np.random.default_rng(0).normal(200, 5, (900, 1200))
    shaded = noise * np.linspace(1, 0.6, 1200)
    for paper in (shaded, *(np.full((300, 200), grey) for grey in (0, 128, 255))):
        with pytest.raises(PictureError, match="nothing to see"):
            prepare(Image.fromarray(paper.clip(0, 255).astype(np.uint8)))
