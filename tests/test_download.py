"""Fetching, from real servers and folders that misbehave as mirrors do."""

import base64
import contextlib
import hashlib
import http.server
import socket
import threading
import time
from urllib.parse import unquote

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

    def moved(self):
        self.send(302, b"", b"")

    def silent(self):
        time.sleep(3)

    def stalls(self):
        self.send(*ANSWERS["cut"])
        self.wfile.flush()
        time.sleep(3)

    def trickles(self):
        self.send(200, b"", CONTENT)
        for byte in CONTENT:
            self.wfile.write(bytes([byte]))
            time.sleep(0.05)

    def endless(self):
        self.send(200, b"", range(10**12))
        while True:
            self.wfile.write(CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture
def url(server, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "_TIMEOUT", 0.5)
    monkeypatch.setattr(download, "_GRACE", 1.0)
    monkeypatch.setattr(download, "_MAX_BYTES", 10**7)
    server.asked = []
    return f"http://127.0.0.1:{server.server_port}"


def fetch(folder, *mirrors, own_mirror=None):
    folder.mkdir(exist_ok=True)
    sources = [Source(file, MD5, [f"{m}/{file}" for m in mirrors]) for file in FILES]
    download.fetch("mnist", sources, folder, own_mirror)
    return [(folder / file).read_bytes() for file in FILES]


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("forbidden", "HTTP 403"),
        ("page", "sent HTML: 19 bytes, MD5 "),
        ("other", f"sent other bytes: {len(CONTENT):,} bytes, MD5 "),
        ("cut", "cut off"),
        ("silent", "no answer for 0 s"),
        ("stalls", "no answer for 0 s"),
        ("trickles", "sends less than 4,096 bytes/s"),
        ("endless", "sends more than 10,000,000 bytes"),
    ],
)
def test_a_mirror_that_misbehaves_is_skipped_once(url, way, why, tmp_path, capsys):
    start = time.monotonic()
    assert fetch(tmp_path, f"{url}/{way}", f"{url}/good") == [CONTENT, CONTENT]
    assert time.monotonic() - start < 5
    skipped = [x for x in capsys.readouterr().out.splitlines() if x.startswith("skipping")]
    assert len(skipped) == 1
    assert skipped[0].startswith(f"skipping {url}/{way}/: images.gz: {why}")


def test_a_server_that_is_down_odd_or_moved(url, tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{free.getsockname()[1]}"
    odd = "http://nowhere.invalid", "http://[", "ftp://127.0.0.1", "http://127.0.0.1:x"
    assert fetch(tmp_path, *odd, down, f"{url}/moved") == [CONTENT, CONTENT]
    said = capsys.readouterr().out
    assert said.count("skipping") == 5
    assert f"skipping {down}/: images.gz: Connection refused" in said
    assert f"images.gz: {len(CONTENT):,} bytes from {url}/moved/\n" in said


def test_where_no_mirror_serves_a_file_each_is_named(url, tmp_path):
    with pytest.raises(NoMirrorError) as caught:
        fetch(tmp_path, f"{url}/forbidden", f"{url}/page")
    first, one, two, *_, last = str(caught.value).splitlines()
    assert first == "no mirror served images.gz of mnist:"  # tools/repro knows it by this
    assert one == f"  {url}/forbidden/  images.gz: HTTP 403"
    assert two.startswith(f"  {url}/page/  images.gz: sent HTML")
    assert last == "mnist/images.gz and the other files."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["{}", "{}/", "file://{}", "file://localhost{}"])
def test_an_own_folder_comes_first(url, server, form, tmp_path):
    mirror = tmp_path / "my mirror" / "mnist"
    mirror.mkdir(parents=True)
    for file in FILES:
        (mirror / file).write_bytes(CONTENT)
    own = form.format(str(mirror.parent).replace(" ", "%20" if "file:" in form else " "))
    assert fetch(tmp_path / "raw", f"{url}/good", own_mirror=own) == [CONTENT, CONTENT]
    assert server.asked == []


def test_an_own_url_comes_first_and_the_others_follow(url, server, tmp_path):
    fetch(tmp_path, f"{url}/good", own_mirror=f"{url}/good/x?token=abc")
    assert server.asked[0][0] == "/good/x/mnist/images.gz?token=abc"
    assert fetch(tmp_path, f"{url}/good", own_mirror="/no/such/folder")


@pytest.mark.parametrize("password", "s3cret s3/cret s3%40cret s3@cret s3:cret".split())
def test_a_password_is_sent_and_never_printed(url, server, password, tmp_path, capsys):
    own = url.replace("http://", f"http://me:{password}@") + "/{}?sig=s3cret"
    for way in ("good", "forbidden", "page", "silent")[: 4 if password == "s3cret" else 3]:
        fetch(tmp_path, f"{url}/good", own_mirror=own.format(way))
    if "/" not in password:  # which no URL holds as it is
        sent = base64.b64encode(f"me:{unquote(password)}".encode()).decode()
        assert server.asked[0] == ("/good/mnist/images.gz?sig=s3cret", f"Basic {sent}")
    with pytest.raises(NoMirrorError) as caught:
        fetch(tmp_path / "raw", own_mirror=own.format("forbidden"))
    said = capsys.readouterr().out + str(caught.value)
    assert "cret" not in said
    assert "me:" not in said
    assert "127.0.0.1" in said
