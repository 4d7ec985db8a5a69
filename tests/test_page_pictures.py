"""Pictures that the page reads, in a real browser: as Python reads them, or not at all."""

import base64

import numpy as np
import pytest
from PIL import Image, ImageOps

from mnist_lstm.data.decoding import open_picture
from mnist_lstm.data.picture import image_of, prepare
from pictures import drawn, encoded, photographed
from webpage import apart, choose, draw, seen, wait


def assert_prepared_as_by_python(tab, path, data):
    tab.evaluate("app.reading.reset()")
    choose(tab, path, data)
    wait(tab, "app.reading.image !== null")
    assert apart(seen(tab), prepare(open_picture(data))) <= 2, path.name


def test_a_picture_is_prepared_as_python_does(tab, tmp_path):
    clear = drawn(2).convert("RGBA")
    clear.putalpha(ImageOps.invert(drawn(2)))
    pictures = {
        "small.png": encoded(drawn(1, side=40)),
        "clear.png": encoded(clear),
        "inverted.png": encoded(ImageOps.invert(drawn(4, side=640))),
        "palette.gif": encoded(drawn(5), "GIF"),
        "large.png": encoded(drawn(6, side=2300)),
        "thin.jpg": encoded(photographed(8, seed=1, pen=4), "JPEG", quality=60),
        "photo.webp": encoded(photographed(3, seed=3), "WEBP", quality=80),
    }
    for name, data in pictures.items():
        assert_prepared_as_by_python(tab, tmp_path / name, data)


BROKEN = (b"MM", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_python_does(tab, tmp_path, kind):
    notes, written = [], Image.Exif()
    for way in range(1, 9):
        written[0x0112] = way
        notes.append(written.tobytes())
    if kind == "WEBP":  # which the page turns by itself
        notes += [b"Exif\0\0" + note for note in notes] + list(BROKEN)
    for i, exif in enumerate(notes):
        data = encoded(drawn(7), kind, exif=exif)
        assert_prepared_as_by_python(tab, tmp_path / f"{i}.{kind}", data)


SCALE = """([bytes, width, height, how]) => {
    const data = Uint8ClampedArray.from(bytesOf(bytes));
    return Array.from(imageOf({ data, width, height }, how));
}"""


def test_a_whole_picture_is_scaled_as_python_does(tab):
    picture = photographed(7).resize((500, 375)).convert("RGBA")
    picture.putalpha(ImageOps.invert(drawn(2)).resize(picture.size))
    data = base64.b64encode(picture.tobytes()).decode()
    for height, width in ((28, 28), (12, 5), (600, 3)):
        how = {"picture": "scale", "height": height, "width": width}
        image = np.array(tab.evaluate(SCALE, [data, *picture.size, how]))
        expected = image_of(picture, *how.values()).astype(int)
        off = np.abs(image.reshape(height, width) - expected)
        assert off.mean() < 1
        assert off.max() <= 2


SLOW = """() => { // what is decoded waits for us
    const decode = createImageBitmap;
    globalThis.decoded = [];
    globalThis.createImageBitmap = async (file) => {
        await new Promise((done) => decoded.push(done));
        return decode(file);
    };
}"""


def test_what_comes_late_is_dropped(tab, tmp_path):
    tab.evaluate(SLOW)
    meanwhile = {
        "another picture": lambda: choose(tab, tmp_path / "0.png"),
        "stroke": lambda: draw(tab, 1),
        "image": lambda: tab.locator("#examples button").nth(4).click(),
        "clear": lambda: tab.evaluate("document.getElementById('clear').click()"),
    }
    for then, do in meanwhile.items():
        for name, data in {"6.png": None, "6.txt": b"six"}.items():
            tab.evaluate("decoded.length = 0, app.pick(app.data.examples[2])")
            choose(tab, tmp_path / name, data)
            wait(tab, "decoded.length === 1")
            do()
            if then == "another picture":
                wait(tab, "decoded.length === 2")
                tab.evaluate("decoded[1]()")
                wait(tab, "app.paper.picture?.width === 280")
                assert apart(seen(tab), prepare(drawn(0))) <= 2
            before, said = seen(tab), tab.text_content("#said")
            tab.evaluate("decoded[0]()")
            tab.wait_for_timeout(200)
            assert np.array_equal(seen(tab), before), (name, then)
            assert tab.text_content("#said") == said, (name, then)
            assert not tab.is_visible("#notice"), (name, then)


PROTECTIONS = {
    "white": "(image) => { image.data.fill(255); return image; }",
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


GIVE = """([kind, data]) => {
    app.reading.reset();
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytesOf(data)], "given.png"));
    const init = { bubbles: true, cancelable: true };
    document.body.dispatchEvent(kind === "paste"
        ? new ClipboardEvent(kind, { clipboardData: transfer, ...init })
        : new DragEvent(kind, { dataTransfer: transfer, ...init }));
}"""


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_picture_that_is_pasted_or_dropped_is_read(tab, kind):
    tab.evaluate(GIVE, [kind, base64.b64encode(encoded(drawn(6))).decode()])
    wait(tab, "app.reading.image !== null")
    assert apart(seen(tab), prepare(drawn(6))) <= 2
