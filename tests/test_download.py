"""Fetching, from real servers and folders that misbehave as mirrors do."""

import base64
import contextlib
import hashlib
import http.server
import threading
import time

import pytest

from mnist_lstm.plumbing import download
from mnist_lstm.plumbing.download import NoMirrorError, Source

CONTENT = bytes(range(256)) * 400
MD5 = hashlib.md5(CONTENT).hexdigest()
FILES = ["images.gz", "labels.gz"]
ANSWERS = {  # status, content, what is missing of it
    "good": (200, CONTENT, b""),
    "forbidden": (403, b"no", b""),
    "page": (200, b"<html>log in</html>", b""),
    "other": (200, CONTENT[::-1], b""),
    "cut": (200, CONTENT[:1000], CONTENT[1000:]),
    "moved": (302, b"", b""),
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves every path as its first part asks: /good/mnist/images.gz is good."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        way = self.path.split("/")[1]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if way in ANSWERS:
                self.send(*ANSWERS[way])
            else:
                getattr(self, way)()

    def send(self, status, content, missing):
        self.send_response(status)
        self.send_header("Location", self.path.replace("/moved/", "/good/"))
        self.send_header("Content-Length", len(content) + len(missing))
        self.end_headers()
        self.wfile.write(content)

    def stalls(self):
        self.send(*ANSWERS["cut"])
        self.wfile.flush()
        time.sleep(3)

    def trickles(self):
        self.send(200, b"", CONTENT)
        for byte in CONTENT:
            self.wfile.write(bytes([byte]))
            time.sleep(0.05)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "_TIMEOUT", 0.5)
    monkeypatch.setattr(download, "_GRACE", 1.0)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.url = [], f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield server
    server.shutdown()


def fetch(folder, *mirrors, own_mirror=None):
    folder.mkdir(exist_ok=True)
    sources = [Source(file, MD5, [f"{m}/{file}" for m in mirrors]) for file in FILES]
    download.fetch("mnist", sources, folder, own_mirror)
    return [(folder / file).read_bytes() for file in FILES]


@pytest.mark.parametrize(
    ("mirror", "why"),
    [
        ("{}/forbidden", "HTTP 403"),
        ("{}/page", "sent HTML: 19 bytes that do not have the MD5 "),
        ("{}/other", f"sent other bytes: {len(CONTENT):,} bytes that do not"),
        ("{}/cut", "ProtocolError"),
        ("{}/stalls", "ReadTimeoutError"),
        ("{}/trickles", "sends less than 4,096 bytes/s"),
        ("http://127.0.0.1:9", "ConnectionError"),
        ("http://[", "InvalidURL"),
    ],
)
def test_a_mirror_that_misbehaves_is_skipped_once(server, mirror, why, tmp_path, capsys):
    bad, start = mirror.format(server.url), time.monotonic()
    assert fetch(tmp_path, bad, f"{server.url}/moved") == [CONTENT, CONTENT]
    assert time.monotonic() - start < 5
    skipped = [x for x in capsys.readouterr().out.splitlines() if x.startswith("skipping")]
    assert len(skipped) == 1
    assert skipped[0].startswith(f"skipping {bad}/: images.gz: {why}")


def test_an_own_folder_or_url_comes_first_and_the_others_follow(server, tmp_path):
    good, own = f"{server.url}/good", tmp_path / "my mirror"
    (own / "mnist").mkdir(parents=True)
    for file in FILES:
        (own / "mnist" / file).write_bytes(CONTENT)
    assert fetch(tmp_path / "raw", good, own_mirror=str(own)) == [CONTENT, CONTENT]
    assert server.asked == []
    fetch(tmp_path, good, own_mirror=f"{good}/x?token=abc")
    assert server.asked[0][0] == "/good/x/mnist/images.gz?token=abc"
    assert fetch(tmp_path, good, own_mirror="/no/such/folder") == [CONTENT, CONTENT]


@pytest.mark.parametrize("password", ["s3cret", "s3@cret", "s3/cret"])
def test_a_password_is_sent_and_never_printed(server, password, tmp_path, capsys):
    """Nor where no mirror serves a file, and each is named."""
    own = server.url.replace("http://", f"http://me:{password}@") + "/{}?sig=s3cret"
    fetch(tmp_path / "raw", f"{server.url}/good", own_mirror=own.format("good"))
    if "/" not in password:  # which no URL holds as it is
        sent = base64.b64encode(f"me:{password}".encode()).decode()
        assert server.asked[0] == ("/good/mnist/images.gz?sig=s3cret", f"Basic {sent}")
    with pytest.raises(NoMirrorError) as caught:
        fetch(tmp_path, f"{server.url}/page", own_mirror=own.format("stalls"))
    first, one, two, *_, last = str(caught.value).splitlines()
    assert first == "no mirror served images.gz of mnist:"  # tools/repro knows it by this
    assert one.startswith(f"  {server.url}/stalls/mnist/  images.gz: ")
    assert two.startswith(f"  {server.url}/page/  images.gz: sent HTML")
    assert last == "mnist/images.gz and the other files."
    said = capsys.readouterr().out + str(caught.value)
    assert "cret" not in said
    assert "me:" not in said
