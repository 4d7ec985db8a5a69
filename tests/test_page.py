"""The page in a real browser, Chromium driven by Playwright: how it reads and looks."""

import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from defaults import model_params
from mnist_lstm.data.splits import to_input
from mnist_lstm.export import page
from mnist_lstm.models.base import make_model
from webpage import (
    SOURCE,
    assert_reads_alike,
    data_of,
    draw,
    exported,
    load,
    read_by_page,
    row,
    seen,
    wait,
    write_page,
)


def test_it_reads_200_images_as_pytorch_does(tab, built):
    assert data_of(exported(built))["weights"]["type"] == "float16"
    assert_reads_alike(tab, *load(built))


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_model_of_default_size_is_read_as_by_pytorch(show, built, tmp_path, name):
    torch.manual_seed(0)
    model = make_model(model_params(name=name)).eval()
    with torch.no_grad():
        for values in model.parameters():
            values.mul_(3)  # as large as those of a trained one
    path = write_page(tmp_path, data_of(exported(built)), model, called=model.called)
    assert_reads_alike(show(path), model, load(built, n=40)[1])


def test_where_float16_does_not_suffice_weights_are_float32(show, built, tmp_path):
    model, images = load(built)
    with torch.no_grad():
        model.lin.weight.mul_(30)
    weights = page.encode_weights(model, to_input(images))
    assert weights["type"] == "float32"
    path = write_page(tmp_path, data_of(exported(built)), weights=weights)
    with torch.inference_mode():
        expected = model.read(to_input(images))
    torch.testing.assert_close(
        read_by_page(show(path), images), expected, rtol=0, atol=1e-3
    )


def test_the_reading_is_stepped_dragged_played_and_paused(tab, built):
    model, _ = load(built)
    with torch.inference_mode():
        p = model.read(to_input(torch.from_numpy(seen(tab))[None])).softmax(2)[0]
    assert row(tab) == 28
    tab.click("#back")
    assert row(tab) == 27
    box = tab.locator("#row").bounding_box()
    tab.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] / 2)
    assert 8 < row(tab) < 15
    shares = tab.locator("#bars .share").all_inner_texts()
    expected = [f"{100 * v:.1f}%" for v in p[row(tab) - 1].tolist()]
    assert sum(a == b for a, b in zip(shares, expected, strict=True)) >= 9  # rounding
    before = row(tab)
    tab.click("#play")
    wait(tab, f"app.reading.row > {before}")
    tab.click("#play")
    paused = row(tab)
    tab.wait_for_timeout(300)
    assert row(tab) == paused < 28
    tab.click("#play")
    wait(tab, "app.reading.row === 28 && app.reading.timer === 0")


def test_it_reads_on_by_itself_unless_motion_is_unwanted_or_one_steps(show, tab, built):
    tab.wait_for_timeout(700)  # as by `show`, motion is unwanted
    assert row(tab) == 28
    tab = show(exported(built), reduced_motion="no-preference")
    wait(tab, "app.reading.timer !== 0")
    wait(tab, "app.reading.row === 28 && app.reading.timer === 0")
    tab.evaluate("app.pick(app.data.examples[2]), document.getElementById('back').click()")
    tab.wait_for_timeout(700)
    assert (row(tab), tab.evaluate("app.reading.timer")) == (27, 0)


def test_test_images_are_read_as_they_are_and_mistakes_are_the_most_confident(tab, built):
    data = data_of(exported(built))
    assert [e["actual"] for e in data["examples"]] == list(range(10))
    for kind in ("examples", "mistakes"):
        for i, example in enumerate(data[kind]):
            tab.locator(f"#{kind} button").nth(i).click()
            assert page.encode_image(torch.from_numpy(seen(tab))) == example["pixels"]
            assert tab.text_content("#glyph") == str(example["predicted"])
    accuracy = json.loads(built.text("metrics/evaluate.json"))["test"]["accuracy"]
    assert tab.inner_text("#accuracy") == f"{100 * accuracy:.2f}%"
    table = built.table("data/predictions.csv")
    wrong = table[table.actual != table.predicted]
    wrong = wrong.sort_values("probability", ascending=False, kind="stable")[:10]
    shown = [(e["actual"], e["predicted"]) for e in data["mistakes"]]
    assert shown == list(zip(wrong.actual, wrong.predicted, strict=True))


def scrolls(tab):
    return tab.evaluate("document.documentElement.scrollWidth > innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_width(show, built, scheme):
    tab = show(exported(built), color_scheme=scheme, has_touch=True)
    for width in (320, 768, 1600):
        tab.set_viewport_size({"width": width, "height": 800})
        assert not scrolls(tab)
        for control in ("#paper", "#undo", "#camera", "#play", "#row", "#bars"):
            box = tab.locator(control).bounding_box()
            assert box["x"] >= 0, (width, control)
            assert box["x"] + box["width"] <= width, (width, control)
            assert box["height"] >= 40, (width, control)
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.search(r"\d+", ground)[0]) > 128) == (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_high_contrast_bars_scan_line_and_the_chosen_image_are_seen(show, built, scheme):
    tab = show(exported(built), forced_colors="active", color_scheme=scheme)
    tab.evaluate("document.activeElement.blur(), app.reading.stop(14)")
    shot = Image.open(io.BytesIO(tab.screenshot(full_page=True))).convert("RGB")

    def colour(place, across=0.5, down=0.5):
        box = tab.locator(place).first.bounding_box()
        at = (box["x"] + across * box["width"], box["y"] + down * box["height"])
        return np.array(shot.getpixel(tuple(map(int, at))), dtype=int)

    chosen, rim = "[aria-pressed=true]", (0.5, 0.005)
    for one, other in (
        (colour(".top .fill"), colour("main", 0.999, 0.999)),
        (colour(".plate .scan"), colour(".plate", 0.01, 0.01)),
        (colour(".heat .scan"), colour(".heat", 0.5, 0.99)),
        (colour(chosen, *rim), colour("[aria-pressed=false]", *rim)),
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


def test_the_border_tells_whether_images_are_light_on_dark(built):
    _, images = load(built)
    assert page.is_dark(images)
    assert not page.is_dark(255 - images)
    assert data_of(exported(built))["dark"] is True


def test_a_hundred_classes_with_long_names_fit(show, built, tmp_path):
    model = make_model(model_params(hdim=16, ydim=100))
    names = [f"</script><img src=x onerror=alert(1)> & {i}" for i in range(100)]
    path = write_page(tmp_path, data_of(exported(built)), model, classes=names)
    tab = show(path, viewport={"width": 320, "height": 800})
    draw(tab, 3)
    assert not scrolls(tab)
    assert tab.locator("img").count() == 0
    x = to_input(torch.from_numpy(seen(tab))[None])
    with torch.inference_mode():
        best = page.round_to_float16(model)(x).argmax()
    shown = tab.locator("#bars li .name").all_inner_texts()
    assert (len(shown), shown[0]) == (10, names[best])


def test_its_words_are_those_of_the_data(show, tab, built, tmp_path):
    own = {"classes": list("ABCDEFGHIJ"), "picture": "scale"}
    other = show(write_page(tmp_path, data_of(exported(built)), **own))
    words = "cropped", "Draw a digit", "with the paper"
    for opened, expected in ((tab, words[:2]), (other, words[2:])):
        text = " ".join(opened.inner_text("body").split())
        assert tuple(word for word in words if word in text) == expected


BLOCKED = """(ask) => new Promise((done) => {
    addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
    if (ask === "connect-src") fetch("http://127.0.0.1:9/").then(done, () => {});
    else new Image().src = "http://127.0.0.1:9/image.png";
})"""


@pytest.mark.parametrize("ask", ["connect-src", "img-src"])
def test_no_request_can_leave_it(browser, built, ask):
    """The page's own policy forbids it, whatever a script might ask for."""
    with browser.new_context() as context:
        tab = context.new_page()
        tab.goto(exported(built).as_uri())
        assert tab.evaluate(BLOCKED, ask) == ask
