"""What is drawn on the page, in a real browser: by mouse, fingers and keys."""

import base64
import functools
import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from defaults import DEFAULT, model_params
from mnist_lstm.data.picture import image_of, prepare
from mnist_lstm.data.splits import to_input
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.plumbing.params import ModelParams
from pictures import drawn, encoded
from strokes import drawing
from webpage import data_of, draw, exported, load, row, seen, wait, write_page


def test_what_is_drawn_is_what_is_seen(tab, built):
    model, _ = load(built)
    for digit in (2, 9):
        draw(tab, digit)
        # Not the same picture: the browser's pen is round, and its lines bend.
        assert np.abs(seen(tab) - prepare(drawn(digit))).mean() < 12
        with torch.inference_mode():
            x = to_input(torch.from_numpy(seen(tab).astype(np.uint8))[None])
            p = model(x).softmax(1)[0]
        assert tab.text_content("#said").startswith(f"It reads {p.argmax()}, ")
        assert tab.text_content("#glyph") == str(p.argmax().item())
        tab.click("#clear")


def test_a_digit_is_read_alike_however_large_and_wherever_it_is_drawn(tab):
    images = []
    for zoom, middle in ((1, 140), (1.4, 140), (0.4, 230), (0.1, 140)):
        draw(tab, 2, zoom, middle)
        images.append(seen(tab))
        tab.click("#clear")
    apart = [np.abs(image - images[0]).mean() for image in images[1:]]
    assert max(apart) < 3, apart


def test_a_tap_and_a_trembling_one_are_dots(tab):
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


PASTE = """(data) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytesOf(data)], "pasted.png"));
    const init = { clipboardData: transfer, bubbles: true };
    document.body.dispatchEvent(new ClipboardEvent("paste", init));
}"""
ONE_STROKE = """() => {
    app.paper.clear();
    app.paper.strokes = [[{ x: 140, y: 60 }, { x: 140, y: 220 }]];
    app.paper.changed(true);
}"""
INTERRUPTIONS = {
    "undo": lambda tab: tab.evaluate("document.getElementById('undo').click()"),
    "clear": lambda tab: tab.evaluate("document.getElementById('clear').click()"),
    "escape": lambda tab: tab.keyboard.press("Escape"),
    "backspace": lambda tab: tab.keyboard.press("Backspace"),
    "delete": lambda tab: tab.keyboard.press("Delete"),
    "image": lambda tab: tab.evaluate("document.querySelector('#examples button').click()"),
    "paste": lambda tab: tab.evaluate(PASTE, base64.b64encode(encoded(drawn(6))).decode()),
    "window": lambda tab: tab.evaluate("dispatchEvent(new Event('blur')), 0"),
    "capture": lambda tab: tab.evaluate(
        "app.paper.pointer && app.paper.canvas.releasePointerCapture(app.paper.pointer)"
    ),
}


@pytest.mark.parametrize("pen", ["mouse", "keys"])
def test_a_stroke_that_is_interrupted_does_not_go_on(tab, pen):
    for what, interrupt in INTERRUPTIONS.items():
        if (pen, what) == ("keys", "capture"):  # keys capture nothing
            continue
        tab.evaluate(ONE_STROKE)
        if pen == "mouse":
            x, y = begin_stroke(tab)
        else:
            tab.focus("#paper")
            tab.keyboard.press("Space")
            tab.keyboard.press("ArrowDown")
        interrupt(tab)
        if what == "paste":
            wait(tab, "app.paper.picture !== null")
        tab.wait_for_timeout(50)  # a frame, or the loss of the capture
        before = points(tab)
        left = {"clear": 0, "delete": 0, "undo": 1, "escape": 1, "backspace": 1}
        assert len(before) == left.get(what, 2), what
        if pen == "mouse":
            tab.mouse.move(x + 150, y + 200, steps=3)
            tab.mouse.up()
        else:
            tab.focus("#paper")
            tab.keyboard.press("ArrowRight")
        assert points(tab) == before, what
        draw(tab, 1)  # all goes on as ever
        assert tab.text_content("#said").startswith("It reads "), what


def test_a_mouse_that_was_lifted_unseen_draws_no_more(tab):
    x, y = begin_stroke(tab)
    before = points(tab)
    session = tab.context.new_cdp_session(tab)
    move = {"type": "mouseMoved", "buttons": 0, "x": x + 200, "y": y + 200}
    session.send("Input.dispatchMouseEvent", move)
    wait(tab, "app.paper.pointer === null")
    assert points(tab) == before
    assert tab.text_content("#said").startswith("It reads ")


def test_one_finger_draws_and_neither_scrolls_nor_does_a_second_one_draw(show, built):
    phone = {"has_touch": True, "viewport": {"width": 320, "height": 600}}
    tab = show(exported(built), **phone)
    box = tab.locator("#paper").bounding_box()
    session = tab.context.new_cdp_session(tab)

    def touch(kind, *places):
        fingers = [
            {"x": box["x"] + x, "y": box["y"] + y, "id": i}
            for i, (x, y) in enumerate(places)
        ]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    touch("touchStart", (100, 30))
    for y in range(40, 140, 10):
        touch("touchMove", (100, y))
    touch("touchStart", (100, 130), (220, 220))
    touch("touchMove", (100, 150), (220, 260))
    touch("touchEnd")
    wait(tab, "app.paper.strokes.length === 1 && app.paper.pointer === null")
    assert points(tab)[0] > 5
    assert max(tab.evaluate("app.paper.strokes[0].map(({ x }) => x)")) < 150
    assert tab.evaluate("scrollY") == 0
    assert tab.text_content("#said").startswith("It reads ")
    for end in ("touchCancel", "touchEnd"):
        touch("touchStart", (100, 50))
        touch(end)
        wait(tab, "app.paper.pointer === null")
    wait(tab, "app.paper.strokes.length === 3")


def test_the_belief_follows_while_a_stroke_is_drawn(tab):
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


def test_it_answers_within_100_ms_after_the_pen_is_lifted(show, built, tmp_path):
    model = LSTMClassifier(model_params())
    tab = show(write_page(tmp_path, data_of(exported(built)), model))
    tab.evaluate("""() => {
        globalThis.times = [];
        const lift = app.paper.lift.bind(app.paper);
        app.paper.lift = (event) => {
            const start = performance.now();
            lift(event);
            times.push(performance.now() - start);
        };
    }""")
    for digit in (1, 4, 5):
        draw(tab, digit)
    times = tab.evaluate("times")
    assert len(times) == 5
    # Where other work shares the cores, some take longer.
    assert np.percentile(times, 25) < 100, times


def test_undo_and_clear(tab):
    draw(tab, 4)
    tab.click("#undo")
    assert len(points(tab)) == 1
    assert seen(tab) is not None
    tab.click("#undo")
    assert seen(tab) is None
    assert tab.is_disabled("#undo")
    assert tab.is_visible("#hint")
    draw(tab, 4)
    tab.click("#clear")
    assert seen(tab) is None
    assert tab.text_content("#said") == ""


def test_all_is_done_by_keys_alone(tab, built):
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
    for _ in range(7):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.id"))
    # At the end, one row on is no choice.
    assert reached == ["undo", "clear", "choose", "play", "back", "row", ""]
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


@functools.cache
def learnt():
    """Return the weights of a model that has learnt drawings on the page's paper."""
    torch.manual_seed(0)
    model = scale_model()
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
    return LSTMClassifier(ModelParams(**DEFAULT["model"] | {"hdim": 32}))


@pytest.mark.long
@pytest.mark.parametrize("dark", [True, False])
def test_where_all_of_the_paper_is_read_it_has_the_colours_of_the_data(
    show, built, tmp_path, dark
):
    model = scale_model().eval()
    model.load_state_dict(learnt())
    if not dark:  # the same of 1 - x
        with torch.no_grad():
            model.rnn.bias_ih_l0 += model.rnn.weight_ih_l0.sum(1)
            model.rnn.weight_ih_l0.neg_()
    data = data_of(exported(built))
    path = write_page(tmp_path, data, model, dark=dark, picture="scale")
    tab = show(path, color_scheme="light" if dark else "dark")

    def paper():
        return Image.open(io.BytesIO(tab.locator("#paper").screenshot())).convert("L")

    read = []
    for digit in range(10):
        draw(tab, digit)
        assert seen(tab)[0, 0] == (0 if dark else 255)
        read.append(tab.text_content("#glyph") == str(digit))
        grey = np.asarray(paper())[3:-3, 3:-3]
        assert (np.median(grey) < 9) == dark
        assert grey.max() - grey.min() > 200  # the ink
        tab.click("#clear")
    assert sum(read) >= 8
    tab.locator("#examples button").first.click()
    shown = np.asarray(paper().resize((28, 28), Image.Resampling.BOX)).astype(int)
    assert np.abs(shown - seen(tab)).mean() < 12
