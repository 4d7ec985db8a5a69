"""Pictures that the page reads, in a real browser: as Python reads them, or not at all."""

import base64
import itertools
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from mnist_lstm.data.decoding import open_picture
from mnist_lstm.data.picture import image_of, prepare
from pictures import drawn, encoded, photographed
from webpage import choose, draw, seen, wait


def assert_prepared_as_by_python(tab, path, data):
    tab.evaluate("app.reading.reset()")
    choose(tab, path, data)
    wait(tab, "app.reading.image !== null")
    assert np.abs(seen(tab) - prepare(open_picture(data))).mean() <= 2, path.name


@pytest.mark.long
def test_a_picture_is_prepared_as_python_does(tab, tmp_path):
    clear = drawn(2).convert("RGBA")
    clear.putalpha(ImageOps.invert(drawn(2)))
    pictures = {
        "drawn.png": encoded(drawn(0)),
        "small.png": encoded(drawn(1, side=40)),
        "clear.png": encoded(clear),
        "inverted.png": encoded(ImageOps.invert(drawn(4, side=640))),
        "palette.gif": encoded(drawn(5), "GIF"),
        "large.png": encoded(drawn(6, side=2300)),
        "photo.jpg": encoded(photographed(7), "JPEG", quality=80),
        "thin.jpg": encoded(photographed(8, seed=1, pen=4), "JPEG", quality=60),
        "tall.jpg": encoded(photographed(9, seed=2).rotate(90, expand=True), "JPEG"),
        "photo.webp": encoded(photographed(3, seed=3), "WEBP", quality=80),
    }
    for name, data in pictures.items():
        assert_prepared_as_by_python(tab, tmp_path / name, data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_python_does(tab, tmp_path, kind):
    written = Image.Exif()
    for way in range(1, 9):
        written[0x0112] = way
        exif = written.tobytes().removeprefix(b"Exif\0\0")
        for head in (b"", b"Exif\0\0") if kind == "WEBP" else (b"Exif\0\0",):
            data = encoded(drawn(7), kind, exif=head + exif)
            assert_prepared_as_by_python(tab, tmp_path / f"{way}.{kind}", data)


def test_a_webp_with_a_broken_orientation_is_read_as_it_is(tab, tmp_path):
    image = encoded(drawn(7), "WEBP", lossless=True)
    side = (279).to_bytes(3, "little")  # less 1
    head = b"VP8X" + struct.pack("<II", 10, 8) + 2 * side
    for exif in (b"", b"MM", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"):
        chunk = b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)
        body = b"WEBP" + head + image[12:] + chunk
        tab.evaluate("app.paper.clear()")
        choose(tab, tmp_path / "7.webp", b"RIFF" + struct.pack("<I", len(body)) + body)
        wait(tab, "app.paper.picture?.width === 280")
        assert np.abs(seen(tab) - prepare(drawn(7))).mean() <= 2, exif


SCALE = """([bytes, width, height, how]) => {
    const data = Uint8ClampedArray.from(bytesOf(bytes));
    return Array.from(imageOf({ data, width, height }, how));
}"""


def test_a_whole_picture_is_scaled_as_python_does(tab):
    clear = photographed(7).resize((500, 375)).convert("RGBA")
    clear.putalpha(ImageOps.invert(drawn(2)).resize(clear.size))
    for picture in (clear, drawn(1, side=40).convert("RGBA")):
        data = base64.b64encode(picture.tobytes()).decode()
        for height, width in ((28, 28), (12, 5), (40, 64), (600, 3)):
            how = {"picture": "scale", "height": height, "width": width}
            image = tab.evaluate(SCALE, [data, *picture.size, how])
            expected = image_of(picture, *how.values())
            apart = np.abs(np.array(image).reshape(height, width) - expected.astype(int))
            assert apart.mean() < 1
            assert apart.max() <= 2


SLOW = """() => { // what is decoded waits for us
    const decode = createImageBitmap;
    globalThis.decoded = [];
    globalThis.createImageBitmap = async (file) => {
        await new Promise((done) => decoded.push(done));
        return decode(file);
    };
}"""


def test_the_picture_that_was_chosen_last_is_read(tab, tmp_path):
    tab.evaluate(SLOW)
    choose(tab, tmp_path / "6.png")
    wait(tab, "decoded.length === 1")
    choose(tab, tmp_path / "0.png")
    wait(tab, "decoded.length === 2")
    tab.evaluate("decoded[1]()")
    wait(tab, "app.paper.picture?.width === 280")
    tab.evaluate("decoded[0]()")
    tab.wait_for_timeout(200)
    assert np.abs(seen(tab) - prepare(drawn(0))).mean() <= 2


def test_a_picture_that_comes_late_is_dropped(tab, tmp_path):
    tab.evaluate(SLOW)
    meanwhile = {
        "stroke": lambda: draw(tab, 1),
        "image": lambda: tab.locator("#examples button").nth(4).click(),
        "clear": lambda: tab.evaluate("document.getElementById('clear').click()"),
    }
    files = {"6.png": None, "6.txt": b"six"}
    for (then, do), name in itertools.product(meanwhile.items(), files):
        tab.evaluate("decoded.length = 0, app.pick(app.data.examples[2])")
        choose(tab, tmp_path / name, files[name])
        wait(tab, "decoded.length === 1")
        do()
        before, said = seen(tab), tab.text_content("#said")
        tab.evaluate("decoded[0]()")
        tab.wait_for_timeout(200)
        assert np.array_equal(seen(tab), before), (name, then)
        assert tab.text_content("#said") == said, (name, then)
        assert not tab.is_visible("#notice"), (name, then)


PROTECTIONS = {
    "white": "(image) => { image.data.fill(255); return image; }",
    "noise": """(image) => {
        image.data.forEach((_, i, data) => { data[i] = 256 * Math.random(); });
        return image;
    }""",
    "some noise": """(image) => {
        image.data.forEach((v, i, data) => { data[i] = v + 60 * (Math.random() - 0.5); });
        return image;
    }""",
    "none": "() => { throw new DOMException('', 'SecurityError'); }",
}
PROTECT = """(protect) => {
    const context = CanvasRenderingContext2D.prototype;
    globalThis.readTruly ??= context.getImageData;
    context.getImageData = function (...box) {
        return protect(readTruly.apply(this, box));
    };
}"""


def test_where_the_browser_returns_no_true_picture_drawings_are_read_and_pictures_not(
    tab, tmp_path
):
    draw(tab, 4)
    before = seen(tab)
    for name, protection in PROTECTIONS.items():
        tab.evaluate(f"() => ({PROTECT})({protection})")
        tab.click("#clear")
        draw(tab, 4)
        assert np.array_equal(seen(tab), before), name
        choose(tab, tmp_path / "4.png")
        wait(tab, "app.paper.picture !== null")
        assert seen(tab) is None, name
        told = "This browser hides pictures from pages"
        assert tab.inner_text("#notice").startswith(told), name


def test_what_is_no_picture_is_told(tab, tmp_path):
    choose(tab, tmp_path / "notes.txt", b"text")
    tab.wait_for_selector("#notice:visible")
    assert tab.inner_text("#notice").startswith("notes.txt: not a picture")
    choose(tab, tmp_path / "empty.png", encoded(drawn(1, ink=255)))
    wait(tab, "!app.reading.image")
    assert "stands out" in tab.inner_text("#notice")


def test_a_dropped_picture_is_read(tab):
    tab.evaluate(
        """(data) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytesOf(data)], "dropped.png"));
            for (const kind of ["dragover", "drop"]) {
                document.body.dispatchEvent(new DragEvent(
                    kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
            }
            app.reading.reset();
        }""",
        base64.b64encode(encoded(drawn(6))).decode(),
    )
    wait(tab, "app.reading.image !== null")
    assert np.abs(seen(tab) - prepare(drawn(6))).mean() <= 2
    assert not tab.is_visible("#drop")


def test_a_phones_own_camera_takes_a_picture(show, built):
    page = built.path / "models/page.html"
    tab = show(page, has_touch=True)
    with tab.expect_file_chooser() as chooser:
        tab.click("#camera")
    assert chooser.value.element.get_attribute("capture") == "environment"
    photo = encoded(photographed(7), "JPEG")
    tab.evaluate("app.reading.reset()")
    chooser.value.set_files({"name": "7.jpg", "mimeType": "image/jpeg", "buffer": photo})
    wait(tab, "app.reading.image !== null")
    assert np.abs(seen(tab) - prepare(open_picture(photo))).mean() <= 2
    assert not show(page).is_visible("#camera")  # no phone
