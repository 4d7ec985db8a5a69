"""Record the page while it reads a digit, as the README's first picture.

Draws on ``models/page.html`` in Chromium and writes ``docs/page.gif``. Run it after
``make repro``: ``python tools/gif.py``.
"""

import io
import math
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

PAGE = Path("models/page.html")
GIF = Path("docs/page.gif")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH = 1160  # CSS pixels: three columns, and the buttons in one row
SCALE = 0.75  # pixels of the picture to a CSS pixel
MARGIN = 16  # CSS pixels around what is shown
COLOURS = 128
# Milliseconds that a frame is shown.
DRAWN, ROW, PAUSE, END = 60, 110, 700, 2400


def five() -> list[list[tuple[float, float]]]:
    """Return the strokes of a 5: points (x, y) as shares of the paper."""
    angles = [math.radians(a) for a in range(-115, 146, 15)]
    bow = [(0.47 + 0.2 * math.cos(a), 0.63 + 0.19 * math.sin(a)) for a in angles]
    down = [(0.38, 0.2 + 0.055 * i) for i in range(5)]
    bar = [(0.38 + 0.045 * i, 0.2 - 0.004 * i) for i in range(7)]
    return [down + bow, bar]


def record(tab: Page) -> Iterator[tuple[Image.Image, int]]:
    """Draw a 5 on the page and let it be read; yield each frame and its duration."""
    tab.goto(PAGE.absolute().as_uri())
    tab.click("#clear")
    place = "(e) => e.getBoundingClientRect().toJSON()"
    box, paper = (tab.locator(name).evaluate(place) for name in ("main", "#paper"))
    clip: Any = {side: box[side] - MARGIN for side in ("x", "y")}
    clip |= {size: box[size] + 2 * MARGIN for size in ("width", "height")}

    def frame() -> Image.Image:
        png = tab.screenshot(clip=clip)
        return Image.open(io.BytesIO(png)).convert("RGB")

    yield frame(), PAUSE
    for stroke in five():
        for n, (x, y) in enumerate(stroke):
            at = paper["x"] + x * paper["width"], paper["y"] + y * paper["height"]
            tab.mouse.move(*at)
            if n == 0:
                tab.mouse.down()
            tab.wait_for_timeout(30)  # the page reads what is drawn once a frame
            yield frame(), DRAWN
        tab.mouse.up()
    tab.mouse.move(0, 0)
    yield frame(), PAUSE
    for row in range(1, 29):
        tab.evaluate("(row) => app.reading.go(row)", row)
        yield frame(), ROW
    yield frame(), END


def colours(frames: Iterable[Image.Image]) -> Image.Image:
    """Return an image with the palette: each colour counts once, however large its area."""
    pixels = np.concatenate([np.asarray(frame).reshape(-1, 3) for frame in frames])
    sheet = Image.fromarray(np.unique(pixels, axis=0)[None])
    return sheet.quantize(COLOURS, kmeans=2)


def main() -> None:
    """Write the picture."""
    browser = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as driver:
        # Without a sandbox, which root cannot have.
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = chromium.new_page(
            viewport={"width": WIDTH, "height": 900},
            device_scale_factor=SCALE,
            color_scheme="light",
            reduced_motion="reduce",  # the rows are turned here, one a frame
        )
        frames, durations = zip(*record(tab), strict=True)
        chromium.close()
    palette = colours(frames)
    *drawn, read = (f.quantize(palette=palette, dither=Image.Dither.NONE) for f in frames)
    # The last comes first: it is what a reader sees who has switched animations off.
    order = [durations[-1], *durations[:-1]]
    read.save(GIF, save_all=True, append_images=drawn, duration=order, loop=0)
    print(f"{GIF}: {sum(durations) / 1000:.1f} s, {GIF.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
