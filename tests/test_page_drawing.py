"""What is drawn on the page, in a real browser: by mouse, fingers and keys."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from mnist_lstm.data.picture import image_of, prepare
from mnist_lstm.data.splits import to_input
from pictures import drawn
from webpage import (
    apart,
    choose,
    data_of,
    draw,
    exported,
    load,
    row,
    seen,
    wait,
    write_page,
)


def test_what_is_drawn_is_what_is_seen_and_read(tab, built):
    model, _ = load(built)
    for digit in (2, 9):
        draw(tab, digit)
        # Not the same picture: the browser's pen is round, and its lines bend.
        assert apart(seen(tab), prepare(drawn(digit))) < 12
        with torch.inference_mode():
            best = model(to_input(torch.from_numpy(seen(tab))[None])).argmax()
        assert tab.text_content("#said").startswith(f"It reads {best}, ")
        assert tab.text_content("#glyph") == str(best.item())
        tab.click("#clear")
    assert seen(tab) is None
    assert tab.text_content("#said") == ""


def test_a_digit_is_read_alike_however_large_and_wherever_it_is_drawn(tab):
    images = []
    for zoom, middle in ((1, 140), (1.4, 140), (0.4, 230), (0.1, 140)):
        draw(tab, 2, zoom, middle)
        images.append(seen(tab))
        tab.click("#clear")
    assert max(apart(image, images[0]) for image in images[1:]) < 3


def begin_stroke(tab):
    """Draw with the mouse, and do not lift it."""
    box = tab.locator("#paper").bounding_box()
    tab.mouse.move(box["x"] + 100, box["y"] + 60)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 120, box["y"] + 120)
    return box["x"], box["y"]


def points(tab):
    return tab.evaluate("app.paper.strokes.map((points) => points.length)")


ONE_STROKE = """() => {
    app.paper.clear();
    app.paper.strokes = [[{ x: 140, y: 60 }, { x: 140, y: 220 }]];
    app.paper.changed(true);
}"""
INTERRUPTIONS = {  # and how many strokes are left
    "undo": (1, "document.getElementById('undo').click()"),
    "clear": (0, "document.getElementById('clear').click()"),
    "image": (2, "document.querySelector('#examples button').click()"),
    "window": (2, "dispatchEvent(new Event('blur')), 0"),
    "capture": (2, "app.paper.canvas.releasePointerCapture(app.paper.pointer)"),
    "escape": (1, ""),
    "file": (2, ""),
}


@pytest.mark.parametrize("pen", ["mouse", "keys"])
def test_a_stroke_that_is_interrupted_does_not_go_on(tab, pen, tmp_path):
    for what, (left, script) in INTERRUPTIONS.items():
        if (pen, what) == ("keys", "capture"):  # keys capture nothing
            continue
        tab.evaluate(ONE_STROKE)
        if pen == "mouse":
            x, y = begin_stroke(tab)
        else:
            tab.focus("#paper")
            tab.keyboard.press("Space")
            tab.keyboard.press("ArrowDown")
        if what == "escape":
            tab.keyboard.press("Escape")
        elif what == "file":
            choose(tab, tmp_path / "6.png")
            wait(tab, "app.paper.picture !== null")
        else:
            tab.evaluate(script)
        tab.wait_for_timeout(50)  # a frame, or the loss of the capture
        before = points(tab)
        assert len(before) == left, what
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


def test_the_belief_follows_while_a_stroke_is_drawn(tab):
    x, y = begin_stroke(tab)
    beliefs = []
    for to in ((200, 60), (150, 150), (120, 240)):
        tab.mouse.move(x + to[0], y + to[1], steps=5)
        tab.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
        )
        beliefs.append(tab.inner_text("#bars"))
        assert tab.text_content("#said") == ""  # a screen reader is not interrupted
    assert len(set(beliefs)) == 3


def test_all_is_done_by_keys_alone(tab, built):
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "paper"
    tab.keyboard.press("Space")
    for _ in range(12):
        tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Space")
    assert tab.text_content("#said").startswith("It reads ")
    assert (seen(tab) > 128).any(1).sum() in (20, 21)  # a stroke from top to bottom
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


@pytest.mark.parametrize("dark", [True, False])
def test_where_all_of_the_paper_is_read_it_has_the_colours_of_the_data(
    show, built, tmp_path, dark
):
    path = write_page(tmp_path, data_of(exported(built)), dark=dark, picture="scale")
    tab = show(path, color_scheme="light" if dark else "dark")

    def paper():
        return Image.open(io.BytesIO(tab.locator("#paper").screenshot())).convert("L")

    for digit in (0, 4, 7):
        draw(tab, digit)
        sheet = ImageOps.expand(drawn(digit), 40, 255)
        sheet = ImageOps.invert(sheet) if dark else sheet
        assert apart(seen(tab), image_of(sheet, "scale", 28, 28)) < 12
        grey = np.asarray(paper())[3:-3, 3:-3]
        assert (np.median(grey) < 9) == dark
        assert grey.max() - grey.min() > 200  # the ink
        tab.click("#clear")
    tab.locator("#examples button").first.click()
    assert apart(seen(tab), paper().resize((28, 28), Image.Resampling.BOX)) < 12
