"""The page in a real browser: Chromium, driven by Playwright."""

import base64
import functools
import io
import json
import re
import shutil
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from defaults import DEFAULT, DIGITS, model_params
from handwriting import drawing
from mnist_lstm.data.decoding import open_picture
from mnist_lstm.data.picture import image_of, prepare
from mnist_lstm.data.splits import load_split, to_input
from mnist_lstm.export import page
from mnist_lstm.models.lstm import LSTMClassifier, Reads
from mnist_lstm.models.store import load_model, save_model
from mnist_lstm.plumbing.errors import PageError
from mnist_lstm.plumbing.params import ModelParams, load_params
from pictures import drawn, encoded, photographed
from strokes import DIGITS as STROKES

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SOURCE = Path("page")


@pytest.fixture(scope="module")
def browser():
    """A Chromium."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed"
    )
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        pytest.skip("no Chromium here")
    with playwright.sync_playwright() as driver:
        # No sandbox: it does not run as root. A camera that shows a test picture.
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        arguments = ["--no-sandbox", "--disable-gpu", *camera]
        browser = driver.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def show(browser):
    """Return a function that opens a page; what it asks for or complains of is an error."""
    contexts, faults = [], []

    def show(path, **options):
        settings = {"reduced_motion": "reduce", "viewport": {"width": 1100, "height": 900}}
        contexts.append(browser.new_context(**settings | options))
        tab = contexts[-1].new_page()
        tab.on("request", lambda request: requested(request.url))
        tab.on("console", lambda message: faults.append(message.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.goto(path.as_uri())
        return tab

    def requested(url):
        if not url.startswith(("file:", "blob:", "data:")):
            faults.append(url)

    yield show
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture(scope="module")
def default_size(built, tmp_path_factory):
    """A copy of the project whose page has a model of the default size, hardly trained."""
    project = built.copy(tmp_path_factory.mktemp("default") / "project")
    project.set_params({"model": DEFAULT["model"]})
    torch.manual_seed(0)
    model = LSTMClassifier(model_params())
    with torch.no_grad():
        for values in model.parameters():
            values.mul_(3)  # as large as those of a trained one
    reads = Reads(DIGITS, "mnist", 28)
    save_model(model, project.path / "models/model.safetensors", reads)
    project.run("python", "stages/export.py", PYTHONPATH="src")
    return project


def wait(tab, expression):
    """Wait until ``expression`` is true; Playwright's own way is against the policy."""
    end = time.monotonic() + 30
    while not tab.evaluate(expression):
        assert time.monotonic() < end, expression
        tab.wait_for_timeout(20)


def exported(project):
    return project.path / "models/page.html"


def data_of(path):
    """Return the data in the page at ``path``."""
    (text,) = re.findall(r'id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(text)


def load(project, n=500):
    """Return a project's model, and ``n`` of its images, test images first."""
    params = load_params(project.path / "params.yaml").model
    model = load_model(project.path / "models/model.safetensors", params)
    parts = [
        load_split(project.path / f"data/prepared/{name}.safetensors", params)
        for name in ("test", "train")
    ]
    return model, torch.cat([part.images for part in parts])[:n]


READ = """(images) => images.map((image) => {
    const { height, width } = app.data;
    const greys = bytesOf(image);
    const rows = Array.from({ length: height }, (_, i) =>
        Float32Array.from(greys.subarray(i * width, (i + 1) * width), (v) => v / 255));
    return app.model.read(rows).map((logits) => Array.from(logits));
})"""


def read_by_page(tab, images):
    """Return the logits after each row as the page computes them: [N x L x ydim]."""
    return torch.tensor(tab.evaluate(READ, [page.encode_image(image) for image in images]))


@torch.inference_mode()
def assert_reads_alike(tab, model, images):
    """Assert that the page has the logits of ``model``, but for its rounded weights."""
    found = read_by_page(tab, images)
    x = to_input(images)
    rounded = page.round_to_float16(model)
    torch.testing.assert_close(found, rounded.read(x), rtol=0, atol=1e-4)
    found, expected = found[:, -1], model(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=page.FLOAT16_BOUND)
    best = expected.topk(2).values
    clear = best[:, 0] - best[:, 1] > 2 * page.FLOAT16_BOUND
    assert clear.sum() > len(images) / 2
    assert (found.argmax(1) == expected.argmax(1))[clear].all()


def test_it_reads_500_images_as_pytorch_does(show, built):
    assert data_of(exported(built))["weights"]["type"] == "float16"
    assert_reads_alike(show(exported(built)), *load(built))


def test_a_model_of_default_size_is_read_as_by_pytorch(show, default_size):
    data = data_of(exported(default_size))
    assert (data["parameters"], data["weights"]["type"]) == (821_770, "float16")
    assert_reads_alike(show(exported(default_size)), *load(default_size, n=100))


def test_where_float16_does_not_suffice_weights_are_float32(show, built, tmp_path):
    model, images = load(built)
    with torch.no_grad():
        model.lin.weight.mul_(30)
    data = data_of(exported(built))
    data["weights"] = page.encode_weights(model, to_input(images))
    assert data["weights"]["type"] == "float32"
    (tmp_path / "page.html").write_bytes(page.assemble(SOURCE, data))
    found = read_by_page(show(tmp_path / "page.html"), images)
    with torch.inference_mode():
        expected = model.read(to_input(images))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


SCALE = """([bytes, width, height, how]) => {
    const data = Uint8ClampedArray.from(bytesOf(bytes));
    return Array.from(imageOf({ data, width, height }, how));
}"""


def seen(tab):
    """Return the image that the page reads, uint8 [L x Q]."""
    values = tab.evaluate("app.reading.image && [...app.reading.image]")
    return None if values is None else np.array(values, dtype=np.uint8).reshape(28, 28)


def test_a_picture_is_prepared_as_python_does(show, built, tmp_path):
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
    tab = show(exported(built))
    for name, data in pictures.items():
        (tmp_path / name).write_bytes(data)
        tab.evaluate("app.reading.reset()")
        tab.locator("#file").set_input_files(tmp_path / name)
        wait(tab, "app.reading.image !== null")
        expected = prepare(open_picture(data))
        assert np.abs(seen(tab).astype(int) - expected).mean() <= 2, name


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_python_does(show, built, tmp_path, kind):
    tab = show(exported(built))
    written = Image.Exif()
    for way in range(1, 9):
        written[0x0112] = way
        exif = written.tobytes()
        for head in (b"", b"Exif\0\0") if kind == "WEBP" else (b"",):
            data = encoded(drawn(7), kind, exif=head + exif.removeprefix(b"Exif\0\0"))
            (tmp_path / f"{way}.{kind}").write_bytes(data)
            tab.evaluate("app.reading.reset()")
            tab.locator("#file").set_input_files(tmp_path / f"{way}.{kind}")
            wait(tab, "app.reading.image !== null")
            expected = prepare(open_picture(data))
            assert np.abs(seen(tab).astype(int) - expected).mean() <= 2, way


@pytest.mark.parametrize(
    "exif", [b"", b"MM", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_a_webp_with_a_broken_orientation_is_read_as_it_is(show, built, tmp_path, exif):
    tab = show(exported(built))
    image = encoded(drawn(7), "WEBP", lossless=True)
    chunk = b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)
    side = (279).to_bytes(3, "little")  # less 1
    head = b"VP8X" + struct.pack("<II", 10, 8) + 2 * side
    body = b"WEBP" + head + image[12:] + chunk
    (tmp_path / "7.webp").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    tab.locator("#file").set_input_files(tmp_path / "7.webp")
    wait(tab, "app.paper.picture?.width === 280")
    assert np.abs(seen(tab).astype(int) - prepare(drawn(7))).mean() <= 2


@pytest.mark.parametrize(("height", "width"), [(28, 28), (12, 5), (40, 64), (600, 3)])
def test_a_whole_picture_is_scaled_as_python_does(show, built, height, width):
    tab = show(exported(built))
    clear = photographed(7).convert("RGBA")
    clear.putalpha(ImageOps.invert(drawn(2)).resize(clear.size))
    for picture in (
        photographed(3).convert("RGBA"),
        clear,
        drawn(1, side=40).convert("RGBA"),
    ):
        how = {"picture": "scale", "height": height, "width": width}
        bytes_ = base64.b64encode(picture.tobytes()).decode()
        image = tab.evaluate(SCALE, [bytes_, *picture.size, how])
        expected = image_of(picture, *how.values())
        apart = np.abs(np.array(image).reshape(height, width) - expected.astype(int))
        assert apart.mean() < 1
        assert apart.max() <= 2


def draw(tab, digit, zoom=1, middle=140):
    """Draw a digit on the paper with the mouse."""
    box = tab.locator("#paper").bounding_box()
    unit = box["width"] / 280
    for stroke in STROKES[digit]:
        places = (np.array(stroke) - 140) * zoom + middle
        points = [(box["x"] + x * unit, box["y"] + y * unit) for x, y in places]
        tab.mouse.move(*points[0])
        tab.mouse.down()
        for point in points[1:]:
            tab.mouse.move(*point, steps=2)
        tab.mouse.up()


@pytest.mark.parametrize("digit", [2, 4, 9])
def test_what_is_drawn_is_what_is_seen(show, built, digit):
    tab = show(exported(built))
    draw(tab, digit)
    expected = prepare(drawn(digit))
    # Not the same picture: the browser's pen is round, and its lines bend.
    assert np.abs(seen(tab).astype(int) - expected).mean() < 12
    model, _ = load(built)
    with torch.inference_mode():
        p = model(to_input(torch.from_numpy(seen(tab))[None])).softmax(1)[0]
    said = tab.text_content("#said")
    assert said.startswith(f"It reads {p.argmax()}, ")
    assert tab.text_content("#glyph") == str(p.argmax().item())


def test_a_digit_is_read_alike_however_large_and_wherever_it_is_drawn(show, built):
    tab = show(exported(built))
    images = []
    for zoom, middle in ((1, 140), (1.4, 140), (0.4, 230), (0.1, 140)):
        draw(tab, 2, zoom, middle)
        images.append(seen(tab).astype(int))
        tab.click("#clear")
    apart = [np.abs(image - images[0]).mean() for image in images[1:]]
    assert max(apart) < 3, apart


def test_a_tap_and_a_trembling_one_are_dots(show, built):
    tab = show(exported(built))
    box = tab.locator("#paper").bounding_box()
    for tremble in (0, 1):
        tab.mouse.move(box["x"] + 100, box["y"] + 100)
        tab.mouse.down()
        tab.mouse.move(box["x"] + 100, box["y"] + 100 + tremble)
        tab.mouse.up()
        ink = seen(tab) > 128
        height, width = ink.any(1).sum(), ink.any(0).sum()
        assert height <= 2 * width
        tab.click("#clear")


def begin_stroke(tab):
    """Draw with the mouse, and do not lift it."""
    box = tab.locator("#paper").bounding_box()
    tab.mouse.move(box["x"] + 100, box["y"] + 60)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 120, box["y"] + 120)
    return box["x"], box["y"]


def points(tab):
    return tab.evaluate("app.paper.strokes.map((points) => points.length)")


def choose(tab, digit, path):
    path.write_bytes(encoded(drawn(digit)))
    tab.locator("#file").set_input_files(path)


PASTE = """(data) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytesOf(data)], "pasted.png"));
    const init = { clipboardData: transfer, bubbles: true };
    document.body.dispatchEvent(new ClipboardEvent("paste", init));
}"""
INTERRUPTIONS = {
    "undo": lambda tab: tab.evaluate("document.getElementById('undo').click()"),
    "clear": lambda tab: tab.evaluate("document.getElementById('clear').click()"),
    "escape": lambda tab: tab.keyboard.press("Escape"),
    "backspace": lambda tab: tab.keyboard.press("Backspace"),
    "delete": lambda tab: tab.keyboard.press("Delete"),
    "image": lambda tab: tab.evaluate("document.querySelector('#examples button').click()"),
    "paste": lambda tab: tab.evaluate(PASTE, base64.b64encode(encoded(drawn(6))).decode()),
    "camera": lambda tab: tab.evaluate("app.openCamera()"),
    "window": lambda tab: tab.evaluate("dispatchEvent(new Event('blur')), 0"),
    "capture": lambda tab: tab.evaluate(
        "app.paper.canvas.releasePointerCapture(app.paper.pointer)"
    ),
}


@pytest.mark.parametrize("what", INTERRUPTIONS)
@pytest.mark.parametrize("pen", ["mouse", "keys"])
def test_a_stroke_that_is_interrupted_does_not_go_on(show, built, what, pen):
    if (what, pen) == ("capture", "keys"):
        pytest.skip("keys capture nothing")
    tab = show(exported(built))
    draw(tab, 1)
    if pen == "mouse":
        x, y = begin_stroke(tab)
    else:
        tab.focus("#paper")
        tab.keyboard.press("Space")
        tab.keyboard.press("ArrowDown")
    INTERRUPTIONS[what](tab)
    if what == "paste":
        wait(tab, "app.paper.picture !== null")
    tab.wait_for_timeout(50)  # a frame, or the loss of the capture
    before = points(tab)
    assert before == {"clear": [], "delete": []}.get(what, before)
    assert len(before) == {"undo": 1, "escape": 1, "backspace": 1}.get(what, len(before))
    if pen == "mouse":
        tab.mouse.move(x + 150, y + 200, steps=3)
        tab.mouse.up()
    elif what != "camera":
        tab.focus("#paper")
        tab.keyboard.press("ArrowRight")
    assert points(tab) == before
    if what == "camera":
        wait(tab, "document.getElementById('video').srcObject !== null")
        tab.click("#cancel")
    draw(tab, 1)  # all goes on as ever
    assert tab.text_content("#said").startswith("It reads ")


def test_a_mouse_that_was_lifted_unseen_draws_no_more(show, built):
    tab = show(exported(built))
    x, y = begin_stroke(tab)
    before = points(tab)
    session = tab.context.new_cdp_session(tab)
    move = {"type": "mouseMoved", "buttons": 0, "x": x + 200, "y": y + 200}
    session.send("Input.dispatchMouseEvent", move)
    wait(tab, "app.paper.pointer === null")
    assert points(tab) == before
    assert tab.text_content("#said").startswith("It reads ")


def test_a_second_finger_does_not_draw(show, built):
    tab = show(exported(built), has_touch=True)
    box = tab.locator("#paper").bounding_box()
    session = tab.context.new_cdp_session(tab)

    def touch(kind, *places):
        fingers = [
            {"x": box["x"] + x, "y": box["y"] + y, "id": i}
            for i, (x, y) in enumerate(places)
        ]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    touch("touchStart", (100, 50))
    touch("touchMove", (100, 90))
    touch("touchStart", (100, 90), (220, 220))
    touch("touchMove", (100, 130), (220, 260))
    touch("touchEnd")
    wait(tab, "app.paper.pointer === null")
    assert len(points(tab)) == 1
    assert max(tab.evaluate("app.paper.strokes[0].map(({ x }) => x)")) < 150
    touch("touchStart", (100, 50))
    touch("touchCancel")
    wait(tab, "app.paper.pointer === null")
    touch("touchStart", (100, 50))
    touch("touchEnd")
    wait(tab, "app.paper.strokes.length === 3 && app.paper.pointer === null")


SLOW = """() => { // what is decoded waits for us
    const decode = createImageBitmap;
    globalThis.decoded = [];
    globalThis.createImageBitmap = async (file) => {
        await new Promise((done) => decoded.push(done));
        return decode(file);
    };
}"""


def test_the_picture_that_was_chosen_last_is_read(show, built, tmp_path):
    tab = show(exported(built))
    tab.evaluate(SLOW)
    choose(tab, 6, tmp_path / "6.png")
    wait(tab, "decoded.length === 1")
    choose(tab, 0, tmp_path / "0.png")
    wait(tab, "decoded.length === 2")
    tab.evaluate("decoded[1]()")
    wait(tab, "app.paper.picture?.width === 280")
    tab.evaluate("decoded[0]()")
    tab.wait_for_timeout(200)
    assert np.abs(seen(tab).astype(int) - prepare(drawn(0))).mean() <= 2


@pytest.mark.parametrize("then", ["stroke", "clear", "image"])
@pytest.mark.parametrize("kind", ["picture", "text"])
def test_a_picture_that_comes_late_is_dropped(show, built, tmp_path, then, kind):
    tab = show(exported(built))
    tab.evaluate(SLOW)
    choose(tab, 6, tmp_path / "6.png")
    if kind == "text":
        (tmp_path / "6.txt").write_text("six")
        tab.locator("#file").set_input_files(tmp_path / "6.txt")
    wait(tab, f"decoded.length === {2 if kind == 'text' else 1}")
    if then == "stroke":
        draw(tab, 1)
    elif then == "image":
        tab.locator("#examples button").nth(4).click()
    else:
        tab.evaluate("document.getElementById('clear').click()")
    before, said = seen(tab), tab.text_content("#said")
    tab.evaluate("decoded.forEach((done) => done())")
    tab.wait_for_timeout(200)
    assert np.array_equal(seen(tab), before)
    assert (tab.text_content("#said"), tab.is_visible("#notice")) == (said, False)


def test_a_camera_that_is_allowed_after_it_was_cancelled_stays_off(show, built):
    tab = show(exported(built))
    tab.evaluate("""() => {
        const devices = navigator.mediaDevices;
        const ask = devices.getUserMedia.bind(devices);
        globalThis.streams = [];
        devices.getUserMedia = async (options) => {
            await new Promise((done) => { globalThis.allow = done; });
            streams.push(await ask(options));
            return streams.at(-1);
        };
    }""")
    tab.click("#camera")
    tab.click("#cancel")
    tab.evaluate("allow()")
    wait(tab, "streams[0]?.getTracks().every((track) => track.readyState === 'ended')")
    assert tab.evaluate("document.getElementById('video').srcObject") is None
    assert not tab.is_visible("#viewfinder")


def test_who_steps_is_not_overtaken_by_the_player(show, built):
    tab = show(exported(built), reduced_motion="no-preference")
    tab.evaluate("app.pick(app.data.examples[2]), document.getElementById('back').click()")
    tab.wait_for_timeout(700)
    assert (row(tab), tab.evaluate("app.reading.timer")) == (27, 0)


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


@pytest.mark.parametrize("protection", PROTECTIONS)
def test_where_the_browser_returns_no_true_picture_drawings_are_read_and_pictures_not(
    show, built, tmp_path, protection
):
    tab = show(exported(built))
    draw(tab, 4)
    before = seen(tab)
    tab.evaluate(f"""() => {{
        const context = CanvasRenderingContext2D.prototype;
        const read = context.getImageData;
        const protect = {PROTECTIONS[protection]};
        context.getImageData = function (...box) {{
            return protect(read.apply(this, box));
        }};
    }}""")
    tab.click("#clear")
    draw(tab, 4)
    assert np.array_equal(seen(tab), before)
    choose(tab, 4, tmp_path / "4.png")
    wait(tab, "app.paper.picture !== null")
    assert seen(tab) is None
    assert tab.inner_text("#notice").startswith("This browser hides pictures from pages")


def test_the_belief_follows_while_a_stroke_is_drawn(show, built):
    tab = show(exported(built))
    box = tab.locator("#paper").bounding_box()
    tab.mouse.move(box["x"] + 80, box["y"] + 60)
    tab.mouse.down()
    beliefs = []
    for x, y in ((200, 60), (150, 150), (120, 240)):
        tab.mouse.move(box["x"] + x, box["y"] + y, steps=5)
        tab.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
        )
        beliefs.append(tab.inner_text("#bars"))
        assert tab.text_content("#said") == ""  # a screen reader is not interrupted
    assert len(set(beliefs)) == 3
    tab.mouse.up()
    assert tab.text_content("#said").startswith("It reads ")


def test_it_answers_within_100_ms_after_the_pen_is_lifted(show, default_size):
    tab = show(exported(default_size))
    tab.evaluate("""() => {
        globalThis.times = [];
        const lift = app.paper.lift.bind(app.paper);
        app.paper.lift = (event) => {
            const start = performance.now();
            lift(event);
            times.push(performance.now() - start);
        };
    }""")
    for digit in (1, 4, 5, 7):
        draw(tab, digit)
    times = tab.evaluate("times")
    assert len(times) == 7
    # Where other work shares the cores, some take longer.
    assert np.percentile(times, 25) < 100, times


def test_undo_and_clear(show, built):
    tab = show(exported(built))
    draw(tab, 4)
    tab.click("#undo")
    assert tab.evaluate("app.paper.strokes.length") == 1
    assert seen(tab) is not None
    tab.click("#undo")
    assert seen(tab) is None
    assert tab.is_disabled("#undo")
    assert tab.is_visible("#hint")
    draw(tab, 4)
    tab.click("#clear")
    assert seen(tab) is None
    assert tab.text_content("#said") == ""


def row(tab):
    return int(tab.input_value("#row"))


def test_the_reading_is_stepped_dragged_played_and_paused(show, built):
    tab = show(exported(built))
    model, _ = load(built)
    with torch.inference_mode():
        p = model.read(to_input(torch.from_numpy(seen(tab))[None])).softmax(2)[0]
    assert row(tab) == 28
    assert tab.is_disabled("#on")
    tab.click("#back")
    assert row(tab) == 27
    box = tab.locator("#row").bounding_box()
    tab.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] / 2)
    assert 8 < row(tab) < 15
    shares = tab.locator("#bars .share").all_inner_texts()
    expected = [f"{100 * v:.1f}%" for v in p[row(tab) - 1].tolist()]
    assert sum(a == b for a, b in zip(shares, expected, strict=True)) >= 9  # rounding
    scan = tab.evaluate("getComputedStyle(document.querySelector('.scan')).top")
    height = tab.locator("#seen").bounding_box()["height"]
    assert float(scan.removesuffix("px")) == pytest.approx(
        height * row(tab) / 28 - 2, abs=1.5
    )
    before = row(tab)
    tab.click("#play")
    assert tab.get_attribute("#play", "aria-label") == "Pause"
    wait(tab, f"app.reading.row > {before}")
    tab.click("#play")
    assert tab.get_attribute("#play", "aria-label") == "Play"
    paused = row(tab)
    tab.wait_for_timeout(300)
    assert row(tab) == paused < 28
    tab.click("#play")
    wait(tab, "app.reading.row === 28 && app.reading.timer === 0")


def test_it_reads_on_by_itself_unless_motion_is_unwanted(show, built):
    tab = show(exported(built), reduced_motion="no-preference")
    wait(tab, "app.reading.timer !== 0")
    wait(tab, "app.reading.row === 28 && app.reading.timer === 0")
    tab = show(exported(built), reduced_motion="reduce")
    tab.wait_for_timeout(800)
    assert row(tab) == 28


def test_all_is_done_by_keys_alone(show, built):
    tab = show(exported(built))
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "paper"
    tab.keyboard.press("Space")
    for _ in range(12):
        tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Space")
    assert tab.text_content("#said").startswith("It reads ")
    lines = seen(tab) > 128
    assert lines.any(1).sum() in (20, 21)  # a stroke from top to bottom
    reached = []
    for _ in range(12):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.id"))
    assert reached[:8] == [
        *("undo", "clear", "choose", "camera"),
        *("play", "back", "row", ""),  # at the end, one row on is no choice
    ]
    tab.focus("#row")
    tab.keyboard.press("ArrowLeft")
    assert row(tab) == 27
    assert tab.get_attribute("#row", "aria-valuetext").startswith("after row 27 of 28: ")
    tab.focus("#mistakes button")
    tab.keyboard.press("Enter")
    mistake = data_of(exported(built))["mistakes"][0]
    assert f"The label says {mistake['actual']}." in tab.text_content("#said")
    tab.focus("#paper")
    tab.keyboard.press("Delete")
    assert seen(tab) is None


def test_test_images_are_read_as_they_are(show, built):
    tab = show(exported(built))
    data = data_of(exported(built))
    assert [e["actual"] for e in data["examples"]] == list(range(10))
    for kind in ("examples", "mistakes"):
        for i, example in enumerate(data[kind]):
            tab.locator(f"#{kind} button").nth(i).click()
            assert page.encode_image(torch.from_numpy(seen(tab))) == example["pixels"]
            assert tab.text_content("#glyph") == str(example["predicted"])
            pressed = tab.locator("[aria-pressed=true]")
            assert pressed.count() == 1
    accuracy = json.loads(built.text("metrics/evaluate.json"))["test"]["accuracy"]
    assert tab.inner_text("#accuracy") == f"{100 * accuracy:.2f}%"
    assert tab.inner_text("#parameters") == "3,114"


def test_the_mistakes_are_the_most_confident_ones(built):
    table = built.table("data/predictions.csv")
    wrong = table[table.actual != table.predicted]
    wrong = wrong.sort_values("probability", ascending=False, kind="stable")[:10]
    shown = data_of(exported(built))["mistakes"]
    assert [(e["actual"], e["predicted"]) for e in shown] == list(
        zip(wrong.actual, wrong.predicted, strict=True)
    )


def test_what_is_no_picture_is_told(show, built, tmp_path):
    tab = show(exported(built))
    (tmp_path / "notes.txt").write_text("text")
    tab.locator("#file").set_input_files(tmp_path / "notes.txt")
    tab.wait_for_selector("#notice:visible")
    assert tab.inner_text("#notice").startswith("notes.txt: not a picture")
    (tmp_path / "empty.png").write_bytes(encoded(drawn(1, ink=255)))
    tab.locator("#file").set_input_files(tmp_path / "empty.png")
    wait(tab, "!app.reading.image")
    assert "stands out" in tab.inner_text("#notice")


def test_a_dropped_picture_is_read(show, built):
    tab = show(exported(built))
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
    assert np.abs(seen(tab).astype(int) - prepare(drawn(6))).mean() <= 2
    assert not tab.is_visible("#drop")


def test_the_camera_takes_a_picture(show, built):
    tab = show(exported(built))
    before = seen(tab)
    tab.click("#camera")
    wait(tab, "document.getElementById('video').videoWidth > 0")
    tab.click("#shoot")
    tab.wait_for_selector("#viewfinder", state="hidden")
    assert tab.evaluate("app.paper.picture !== null")
    assert not np.array_equal(seen(tab), before)
    assert tab.evaluate("document.getElementById('video').srcObject") is None


def test_a_finger_draws_and_does_not_scroll(show, built):
    phone = {"has_touch": True, "viewport": {"width": 320, "height": 600}}
    tab = show(exported(built), **phone)
    box = tab.locator("#paper").bounding_box()
    session = tab.context.new_cdp_session(tab)

    def touch(kind, *points):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    x, y = box["x"] + 150, box["y"] + 40
    touch("touchStart", {"x": x, "y": y})
    for _ in range(10):
        y += 18
        touch("touchMove", {"x": x, "y": y})
    touch("touchEnd")
    wait(tab, "app.paper.strokes.length === 1 && app.paper.pointer === null")
    assert tab.evaluate("app.paper.strokes[0].length") > 5
    assert tab.evaluate("scrollY") == 0
    assert tab.text_content("#said").startswith("It reads ")


def scrolls(tab):
    return tab.evaluate("document.documentElement.scrollWidth > innerWidth")


@pytest.mark.parametrize("width", [320, 768, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_width(show, built, width, scheme):
    view = {"width": width, "height": 800}
    tab = show(exported(built), viewport=view, color_scheme=scheme)
    assert not scrolls(tab)
    for control in ("#paper", "#undo", "#camera", "#play", "#row", "#bars"):
        box = tab.locator(control).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["height"] >= 40
    ground, ink = tab.evaluate("""() => {
        const { backgroundColor, color } = getComputedStyle(document.body);
        return [backgroundColor, color].map((rgb) => Number(rgb.match(/\\d+/)[0]));
    }""")
    assert (ground > ink) == (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_high_contrast_bars_scan_line_and_the_chosen_image_are_seen(show, built, scheme):
    tab = show(exported(built), forced_colors="active", color_scheme=scheme)
    tab.evaluate("document.activeElement.blur(), app.reading.stop(14)")
    shot = Image.open(io.BytesIO(tab.screenshot(full_page=True))).convert("RGB")

    def colour(place, across=0.5, down=0.5):
        box = tab.locator(place).first.bounding_box()
        at = (box["x"] + across * box["width"], box["y"] + down * box["height"])
        return np.array(shot.getpixel(tuple(map(int, at))), dtype=int)

    for one, other in (
        (colour(".top .fill"), colour("main", 0.999, 0.999)),
        (colour(".plate .scan"), colour(".plate", 0.01, 0.01)),
        (colour(".heat .scan"), colour(".heat", 0.5, 0.99)),
        (
            colour("[aria-pressed=true]", 0.5, 0.005),
            colour("[aria-pressed=false]", 0.5, 0.005),
        ),
    ):
        assert np.abs(one - other).max() > 60


def test_it_is_sharp_on_a_screen_of_other_pixels(show, built):
    tab = show(exported(built), viewport={"width": 1300, "height": 900})
    session = tab.context.new_cdp_session(tab)
    before = tab.evaluate("[app.paper.canvas.width, app.reading.element.heat.width]")
    for ratio in (2, 3):  # it goes on watching
        # A width that changes nothing: without, Chromium tells no page of what is emulated.
        view = {"width": 1300 + ratio, "height": 900, "deviceScaleFactor": ratio}
        session.send("Emulation.setDeviceMetricsOverride", view | {"mobile": False})
        wait(tab, f"app.paper.canvas.width >= {ratio * (before[0] - 1)}")
        wait(tab, f"app.reading.element.heat.width >= {ratio * (before[1] - 1)}")


def test_safari_selects_no_text_while_it_is_drawn():
    style = (SOURCE / "style.css").read_text()
    plain = re.findall(r"^ *user-select: (.*);", style, re.MULTILINE)
    assert re.findall(r"^ *-webkit-user-select: (.*);", style, re.MULTILINE) == plain


@pytest.mark.long
@pytest.mark.parametrize("dark", [True, False])
def test_where_all_of_the_paper_is_read_it_has_the_colours_of_the_data(
    show, built, tmp_path, dark
):
    model = scale_model()
    if not dark:  # the same of 1 - x
        with torch.no_grad():
            model.rnn.bias_ih_l0 += model.rnn.weight_ih_l0.sum(1)
            model.rnn.weight_ih_l0.neg_()
    data = data_of(exported(built)) | {
        "dark": dark,
        "model": {"hdim": 32, "n_layer": 2, "xdim": 28, "ydim": 10},
        "picture": "scale",
        "weights": page.encode_weights(model, torch.zeros(1, 28, 28)),
    }
    (tmp_path / "page.html").write_bytes(page.assemble(SOURCE, data))
    tab = show(tmp_path / "page.html", color_scheme="light" if dark else "dark")
    read = []
    for digit in range(10):
        draw(tab, digit)
        assert seen(tab)[0, 0] == (0 if dark else 255)
        read.append(tab.text_content("#glyph") == str(digit))
        shot = Image.open(io.BytesIO(tab.locator("#paper").screenshot())).convert("L")
        grey = np.asarray(shot)[3:-3, 3:-3]
        assert (np.median(grey) < 9) == dark
        assert grey.max() - grey.min() > 200  # the ink
        tab.click("#clear")
    assert sum(read) >= 8
    tab.locator("#examples button").first.click()
    assert np.abs(page_shows(tab) - seen(tab).astype(int)).mean() < 12


def page_shows(tab):
    """Return the paper as 28 x 28 greys."""
    shot = Image.open(io.BytesIO(tab.locator("#paper").screenshot())).convert("L")
    return np.asarray(shot.resize((28, 28), Image.Resampling.BOX)).astype(int)


@functools.cache
def learnt():
    """Return the weights of a model that has learnt drawings on the page's paper."""
    torch.manual_seed(0)
    model = LSTMClassifier(ModelParams(**DEFAULT["model"] | {"hdim": 32}))
    pictures = [Image.open(io.BytesIO(drawing(i % 10, i))) for i in range(200)]
    sheets = [ImageOps.expand(ImageOps.invert(p.convert("L")), 40) for p in pictures]
    images = np.stack([image_of(sheet, "scale", 28, 28) for sheet in sheets])
    x, y = to_input(torch.from_numpy(images)), torch.arange(200) % 10
    adam = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(120):
        adam.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        adam.step()
    return model.state_dict()


def scale_model():
    model = LSTMClassifier(ModelParams(**DEFAULT["model"] | {"hdim": 32}))
    model.load_state_dict(learnt())
    return model.eval()


def test_the_border_tells_whether_images_are_light_on_dark(built):
    _, images = load(built)
    assert page.is_dark(images)
    assert not page.is_dark(255 - images)
    framed = torch.full((3, 12, 5), 200, dtype=torch.uint8)
    framed[:, 1:-1, 1:-1] = 0
    assert not page.is_dark(framed)
    assert data_of(exported(built))["dark"] is True


@pytest.mark.parametrize("width", [320, 1600])
def test_a_thousand_classes_with_long_names_fit(show, built, tmp_path, width):
    model = LSTMClassifier(ModelParams(**DEFAULT["model"] | {"hdim": 16, "ydim": 1000}))
    names = [f"</script><img src=x onerror=alert(1)> & {i}" for i in range(1000)]
    data = data_of(exported(built)) | {
        "classes": names,
        "model": {"hdim": 16, "n_layer": 2, "xdim": 28, "ydim": 1000},
        "weights": page.encode_weights(model, torch.zeros(1, 28, 28)),
    }
    (tmp_path / "page.html").write_bytes(page.assemble(SOURCE, data))
    tab = show(tmp_path / "page.html", viewport={"width": width, "height": 800})
    draw(tab, 3)
    assert not scrolls(tab)
    assert tab.locator("#bars li").count() == 10
    assert tab.locator("img").count() == 0
    x = to_input(torch.from_numpy(seen(tab))[None])
    with torch.inference_mode():
        best = page.round_to_float16(model)(x).argmax()
    assert tab.locator("#bars li .name").first.inner_text() == names[best]


@pytest.mark.parametrize(
    ("picture", "names", "words", "others"),
    [
        ("mnist", DIGITS, ("cropped", "a 3 and an 8", "Draw a digit"), ("with the paper",)),
        ("mnist", "ABCDEFGHIJ", ("cropped", "Draw a picture"), ("a 3 and", "Draw a digit")),
        ("scale", "ABCDEFGHIJ", ("with the paper",), ("cropped", "MNIST", "Draw a digit")),
    ],
)
def test_its_words_are_those_of_the_data(
    show, built, tmp_path, picture, names, words, others
):
    data = data_of(exported(built)) | {"classes": list(names), "picture": picture}
    (tmp_path / "page.html").write_bytes(page.assemble(SOURCE, data))
    tab = show(tmp_path / "page.html")
    text = " ".join(f"{tab.title()} {tab.inner_text('body')}".split())
    assert [word for word in words if word not in text] == []
    assert [word for word in others if word in text] == []


def test_a_page_that_is_not_put_together_says_so(show):
    tab = show((SOURCE / "index.html").resolve())
    assert "`dvc repro` makes models/page.html" in tab.inner_text("#notice")


def test_no_request_can_leave_it(browser, built):
    """The page's own policy forbids it, whatever a script might ask for."""
    asked = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with browser.new_context() as context:
            tab = context.new_page()
            ask = "(url) => fetch(url, { mode: 'no-cors' }).then(() => 1, () => 0)"
            image = "(url) => { new Image().src = url; }"
            tab.goto(exported(built).as_uri())
            assert tab.evaluate(ask, f"{address}/fetch") == 0
            tab.evaluate(image, f"{address}/image.png")
            tab.wait_for_timeout(200)
            assert asked == []
            tab.goto(f"{address}/other")  # where none forbids it
            assert tab.evaluate(ask, f"{address}/fetch") == 1
        server.shutdown()
    assert [path for path in asked if path != "/favicon.ico"] == ["/other", "/fetch"]


def test_it_is_the_same_file_whenever_it_is_made(copy):
    before = exported(copy).read_bytes()
    exported(copy).unlink()
    copy.run("python", "stages/export.py", PYTHONPATH="src", PYTHONHASHSEED="5", LC_ALL="C")
    assert exported(copy).read_bytes() == before


def test_all_but_the_weights_is_small(built):
    size = exported(built).stat().st_size
    assert size - len(data_of(exported(built))["weights"]["base64"]) < 1_500_000


def test_its_source_is_checked(tmp_path):
    source = tmp_path / "page"
    shutil.copytree(SOURCE, source)
    (source / "lstm.js").write_text("const end = '</script>';")
    with pytest.raises(PageError, match=r"lstm.js: must not have </script in it"):
        page.assemble(source, {})
    (source / "lstm.js").unlink()
    with pytest.raises(PageError, match=r"lstm.js: no such file"):
        page.assemble(source, {})
    (source / "index.html").write_text("<title>None</title>")
    with pytest.raises(PageError, match=r'must have <script type="application/json"'):
        page.assemble(source, {})
