"""Fetching, from real servers that misbehave in each way that a mirror can."""

import contextlib
import hashlib
import http.server
import threading
import time

import pytest
from sklearn.datasets import load_digits

from mnist_lstm import datasets, preparation
from mnist_lstm.datasets import Checksum, NoMirrorError

CONTENT = bytes(range(256)) * 400
NAMES = list(datasets.FILES.values())


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves every path as ``/<way of misbehaving>/<data set>/<file>`` asks."""

    def do_GET(self):
        getattr(self, self.path.split("/")[1].replace("-", "_"))()

    def send(self, content, length=None, status=200):
        self.send_response(status)
        self.send_header("Content-Length", length or len(content))
        self.end_headers()
        self.wfile.write(content)

    def good(self):
        self.send(CONTENT)

    def forbidden(self):
        self.send(b"no", status=403)

    def not_found(self):
        self.send(b"", status=404)

    def broken(self):
        self.send(b"oops", status=500)

    def html(self):
        self.send(b"<!doctype html><title>Sign in to the network</title>")

    def other_bytes(self):
        self.send(CONTENT[::-1])

    def cut_off(self):
        self.send(CONTENT[:1000], length=len(CONTENT))

    def too_little(self):
        self.send_response(200)  # without a length, nothing tells but the checksum
        self.end_headers()
        self.wfile.write(CONTENT[:1000])

    def too_much(self):
        self.send(CONTENT * 10)

    def stalls_at_once(self):
        time.sleep(4)

    def stalls_midway(self):
        self.send(CONTENT[:1000], length=len(CONTENT))
        time.sleep(4)

    def trickles(self):
        self.send(b"", length=len(CONTENT))
        with contextlib.suppress(BrokenPipeError):
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.03)

    def trickles_its_header(self):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for byte in b"HTTP/1.0 200 OK\r\nServer: " + b"x" * 200:
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)

    def redirects_for_ever(self):
        self.send_response(302)
        self.send_header("Location", f"{self.path}?")
        self.end_headers()

    def redirects_to_itself(self):
        self.send_response(302)
        self.send_header("Location", self.path)
        self.end_headers()

    def babbles(self):
        self.wfile.write(b"no HTTP \x1b[31m at all " * 20 + b"\r\n\r\n")

    def hangs_up(self):
        self.connection.close()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def public(monkeypatch, server):
    """Let the given paths of the server be the public mirrors of a small data set."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(datasets, "_TIMEOUT", 1.0)
    monkeypatch.setattr(datasets, "_GRACE", 1.5)
    monkeypatch.setattr(datasets, "_MAX_BYTES", 4 * len(CONTENT))
    checksum = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())

    def public(*ways):
        mirrors = [f"{server}/{way}/mnist/" for way in ways]
        sources = (mirrors, dict.fromkeys(NAMES, checksum))
        monkeypatch.setattr(datasets, "sources", lambda name: sources)

    return public


WAYS = {
    "forbidden": "HTTP 403",
    "not-found": "HTTP 404",
    "broken": "HTTP 500",
    "html": "sent HTML",
    "other-bytes": "sent other bytes: 102,400 bytes, sha256 ",
    "cut-off": "cut off after 1,000 of 102,400 bytes",
    "too-little": "sent other bytes: 1,000 bytes",
    "too-much": "sends more than",
    "stalls-at-once": "no byte for",
    "stalls-midway": "no byte for",
    "trickles": "stalls: ",
    "trickles-its-header": "no answer for",
    "redirects-for-ever": "HTTP 302",
    "redirects-to-itself": "HTTP 302",
    "babbles": "no HTTP [31m at all",
    "hangs-up": "closed connection",
}


@pytest.mark.parametrize(("way", "reason"), WAYS.items())
def test_a_mirror_that_misbehaves_is_passed_over_with_one_line(
    way, reason, public, server, tmp_path, capsys
):
    public(way, "good")
    start = time.monotonic()
    datasets.fetch("mnist", tmp_path)
    assert time.monotonic() - start < 10
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() for line in lines)
    mirror = f"{server}/{way}/mnist/"
    assert lines[0].startswith(f"passing over {mirror}: train-images")
    assert reason in lines[0]
    assert [line for line in lines if mirror in line] == lines[
        :1
    ]  # asked once, not four times
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(NAMES)
    assert {file.read_bytes() for file in tmp_path.iterdir()} == {CONTENT}


def test_a_terminal_shows_a_bar_for_each_file(public, tmp_path, terminal):
    public("good")
    shown = terminal()
    datasets.fetch("mnist", tmp_path)
    assert "train-images-idx3-ubyte.gz: 100%" in shown.getvalue()
    assert "102k/102k" in shown.getvalue()


def test_a_server_that_is_down_is_passed_over(public, tmp_path, capsys):
    public("good")
    datasets.fetch("mnist", tmp_path, "http://127.0.0.1:9/")
    assert "http://127.0.0.1:9/mnist/: train-images-idx3-ubyte.gz: Connection refused" in (
        capsys.readouterr().out
    )


def test_when_no_mirror_is_left_the_error_lists_each_with_its_reason(
    public, server, tmp_path
):
    public(*WAYS)
    with pytest.raises(NoMirrorError) as caught:
        datasets.fetch("mnist", tmp_path)
    first, *reasons, advice, _ = str(caught.value).splitlines()
    assert first == "no mirror served train-images-idx3-ubyte.gz of mnist:"
    for line, (way, reason) in zip(reasons, WAYS.items(), strict=True):
        assert f"{server}/{way}/mnist/" in line
        assert reason in line
    assert "set DATA_MIRROR to a folder or URL" in advice
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["folder", "folder/", "file URL", "http URL"])
def test_your_own_mirror_is_tried_first(form, public, server, tmp_path, capsys):
    public("broken")
    mine = tmp_path / "my files" / "mnist"
    mine.mkdir(parents=True)
    for name in NAMES:
        (mine / name).write_bytes(CONTENT)
    own = {
        "folder": str(mine.parent),
        "folder/": f"{mine.parent}/",
        "file URL": mine.parent.as_uri(),
        "http URL": f"{server}/good",
    }[form]
    into = tmp_path / "raw"
    into.mkdir()
    datasets.fetch("mnist", into, own)
    assert {file.read_bytes() for file in into.iterdir()} == {CONTENT}
    assert "passing over" not in capsys.readouterr().out


def test_a_folder_without_the_files_is_passed_over(public, tmp_path, capsys):
    public("good")
    into = tmp_path / "raw"
    into.mkdir()
    datasets.fetch("mnist", into, str(tmp_path))
    assert "No such file or directory" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_torchvision_knows_mirrors_and_checksums_of_each_set(name):
    mirrors, checksums = datasets.sources(name)
    assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in mirrors)
    assert sorted(checksums) == sorted(NAMES)
    algorithm, length = ("sha256", 64) if name == "mnist" else ("md5", 32)
    for checksum in checksums.values():
        assert (checksum.algorithm, len(checksum.digest)) == (algorithm, length)


def test_digits_are_the_same_four_files_without_a_network(tmp_path):
    datasets.write_digits(tmp_path)
    train, test = preparation.read(tmp_path)
    assert train.images.shape == (1437, 28, 28)
    assert test.images.shape == (360, 28, 28)
    digits = load_digits()
    assert train.labels.tolist() + test.labels.tolist() == digits.target.tolist()
    image = test.images[0]
    assert (image[:2] == 0).all()
    assert (image[:, -2:] == 0).all()
    pixel = image[2:26:3, 2:26:3].double() * 16 / 255
    assert pixel.round().tolist() == digits.images[1437].tolist()
