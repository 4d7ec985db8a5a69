"""The page in a real Firefox, driven by WebDriver BiDi; Chromium's tests are more."""

import asyncio
import base64
import io
import itertools
import re
import shutil
import subprocess

import aiohttp  # DVC needs it
import numpy as np
import pytest
import torch
from PIL import Image

from mnist_lstm.splits import to_input
from strokes import DIGITS
from test_page import exported, load

FOUND = next(filter(None, map(shutil.which, ("firefox", "firefox-esr"))), None)
pytestmark = pytest.mark.skipif(not FOUND, reason="no Firefox here")


@pytest.fixture
def address(tmp_path):
    """Where a Firefox listens."""
    command = [FOUND, "--headless", "--remote-debugging-port", "0"]
    command += ["--profile", str(tmp_path), "about:blank"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        lines = iter(process.stdout.readline, "")
        said = (re.search(r"BiDi listening on (ws:\S+)", line) for line in lines)
        yield next(filter(None, said))[1] + "/session"
        process.terminate()


class Tab:
    """A page in Firefox: https://www.w3.org/TR/webdriver-bidi/."""

    def __init__(self, socket):
        self.socket = socket
        self.number = itertools.count(1)

    async def send(self, method, **params):
        """Ask for something; return the answer."""
        number = next(self.number)
        await self.socket.send_json({"id": number, "method": method, "params": params})
        while (answer := await self.socket.receive_json()).get("id") != number:
            pass  # events
        assert answer["type"] == "success", answer
        return answer["result"]

    async def open(self, url):
        await self.send("session.new", capabilities={})
        tree = await self.send("browsingContext.getTree")
        self.context = tree["contexts"][0]["context"]
        view = {"width": 1100, "height": 900}
        await self.send("browsingContext.setViewport", context=self.context, viewport=view)
        await self.send(
            "browsingContext.navigate", context=self.context, url=url, wait="complete"
        )

    async def evaluate(self, expression):
        """Return what ``expression`` is, a text."""
        found = await self.send(
            "script.evaluate",
            expression=expression,
            target={"context": self.context},
            awaitPromise=True,
        )
        assert found["type"] == "success", found
        return found["result"]["value"]

    async def draw(self, digit):
        """Draw a digit on the paper with the mouse."""
        place = "const box = document.getElementById('paper').getBoundingClientRect();"
        box = await self.evaluate(f"{place} [box.x, box.y, box.width].join()")
        left, top, width = map(float, box.split(","))
        actions = []
        for stroke in DIGITS[digit]:
            moves = [
                {
                    "type": "pointerMove",
                    "x": round(left + x * width / 280),
                    "y": round(top + y * width / 280),
                    "duration": 10,
                }
                for x, y in stroke
            ]
            down, up = ({"type": f"pointer{way}", "button": 0} for way in ("Down", "Up"))
            actions += [moves[0], down, *moves[1:], up]
        mouse = {"type": "pointer", "id": "mouse", "actions": actions}
        await self.send("input.performActions", context=self.context, actions=[mouse])


async def visit(address, url):
    """Open the page, draw a 4; return what it saw and said, and a screenshot."""
    async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
        tab = Tab(socket)
        await tab.open(url)
        first = await tab.evaluate("document.getElementById('said').textContent")
        await tab.draw(4)
        said = await tab.evaluate("document.getElementById('said').textContent")
        seen = await tab.evaluate("app.reading.image.join()")
        shot = await tab.send("browsingContext.captureScreenshot", context=tab.context)
        return first, said, seen, base64.b64decode(shot["data"])


def test_it_loads_and_reads_what_is_drawn_as_pytorch_does(address, built, tmp_path):
    url = exported(built).as_uri()
    first, said, seen, shot = asyncio.run(asyncio.wait_for(visit(address, url), 120))
    assert first.startswith("It reads ")  # the first test image
    image = torch.tensor(list(map(int, seen.split(",")))).reshape(1, 28, 28)
    model, _ = load(built)
    with torch.inference_mode():
        p = model(to_input(image)).softmax(1)[0]
    assert said.startswith(f"It reads {p.argmax()}, ")
    assert (image > 128).sum() > 30
    (tmp_path / "firefox.png").write_bytes(shot)
    picture = np.asarray(Image.open(io.BytesIO(shot)).convert("L"))
    assert picture.shape == (900, 1100)
    assert len(np.unique(picture)) > 50  # something is drawn on it
