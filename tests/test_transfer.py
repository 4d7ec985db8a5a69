"""Fetching, from real servers and folders that misbehave in each way that a mirror can."""

import base64
import contextlib
import hashlib
import http.server
import os
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from mnist_lstm.plumbing import transfer
from mnist_lstm.plumbing.transfer import Checksum, NoMirrorError

CONTENT = bytes(range(256)) * 400
NAMES = ["images.gz", "labels.gz"]
CHECKSUMS = dict.fromkeys(NAMES, Checksum("sha256", hashlib.sha256(CONTENT).hexdigest()))
PASSWORD = "p@ss/w\u00f6rd"
USER_INFO = "me:p%40ss%2Fw%C3%B6rd"
BASIC = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
TOKEN = "c2VjcmV0dG9rZW4"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves every path as ``/<way of misbehaving>/<data set>/<file>`` asks."""

    def do_GET(self):
        path = urlsplit(self.path).path
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, path.split("/")[1].replace("-", "_"))()

    def head(self, status=200, reason=None, **headers):
        self.send_response(status, reason)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, content, length=None, status=200):
        self.head(status, Content_Length=len(content) if length is None else length)
        self.wfile.write(content)

    def trickle(self, content, seconds=0.05):
        for byte in content:
            self.wfile.write(bytes([byte]))
            time.sleep(seconds)

    def good(self):
        self.send(CONTENT)

    def slow(self):
        self.send(b"", length=len(CONTENT))
        for start in range(0, len(CONTENT), 25_000):
            self.wfile.write(CONTENT[start : start + 25_000])
            time.sleep(0.4)

    def chunked(self):
        self.head(Transfer_Encoding="chunked")
        self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(CONTENT), CONTENT))

    def labelled_gzip(self):
        self.head(Content_Encoding="gzip")
        self.wfile.write(CONTENT)

    def length_twice(self):
        self.send(CONTENT, length=f"{len(CONTENT)}, {len(CONTENT)}")

    def length_nonsense(self):
        self.send(CONTENT, length="many")

    def length_negative(self):
        self.send(CONTENT, length=-1)

    def two_lengths(self):
        self.send(CONTENT, length=f"{len(CONTENT)}, 5")

    def forbidden(self):
        self.send(b"no", status=403)

    def not_found(self):
        self.send(b"", status=404)

    def broken(self):
        self.send(b"oops", status=500)

    def partial(self):
        self.send(CONTENT, status=206)

    def forges(self):
        self.head(403, "no \x1b[31m\x85error: forged " + "x" * 500)

    def html(self):
        self.send(b"<!doctype html><title>Sign in to the network</title>")

    def other_bytes(self):
        self.send(CONTENT[::-1])

    def cut_off(self):
        self.send(CONTENT[:1000], length=len(CONTENT))

    def cut_off_chunk(self):
        self.head(Transfer_Encoding="chunked")
        self.wfile.write(b"%x\r\n" % len(CONTENT) + CONTENT[:9000])

    def no_chunk(self):
        self.head(Transfer_Encoding="chunked")
        self.wfile.write(b"\x1b[31mmany\r\n" + CONTENT)

    def too_little(self):
        self.head()  # without a length, nothing tells but the checksum
        self.wfile.write(CONTENT[:1000])

    def too_much(self):
        self.head()
        while True:
            self.wfile.write(CONTENT)

    def promises_too_much(self):
        self.send(CONTENT, length=10 * len(CONTENT))

    def stalls_at_once(self):
        time.sleep(4)

    def stalls_midway(self):
        self.send(CONTENT[:1000], length=len(CONTENT))
        time.sleep(4)

    def trickles(self):
        self.send(b"", length=len(CONTENT))
        self.trickle(CONTENT[:100])

    def trickles_in_the_end(self):
        self.send(CONTENT[:-100], length=len(CONTENT))
        self.trickle(CONTENT[-100:])

    def trickles_its_header(self):
        self.trickle(b"HTTP/1.0 200 OK\r\nServer: " + b"x" * 100)

    def trickles_its_chunk_size(self):
        self.head(Transfer_Encoding="chunked")
        self.trickle(b"0" * 100)

    def trickles_its_trailers(self):
        self.head(Transfer_Encoding="chunked")
        self.wfile.write(b"%x\r\n%b\r\n0\r\n" % (len(CONTENT), CONTENT))
        self.trickle(b"X: y\r\n" * 20)

    def trailers_for_ever(self):
        self.head(Transfer_Encoding="chunked")
        self.wfile.write(b"%x\r\n%b\r\n0\r\n" % (len(CONTENT), CONTENT))
        end = time.monotonic() + 4
        while time.monotonic() < end:
            self.wfile.write(b"X: y\r\n" * 100)

    def goes_on_for_ever(self):
        for _ in range(80):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(0.05)

    def redirects(self):
        self.head(302, Location=self.path.replace("redirects", "good"), Content_Length=0)

    def redirects_for_ever(self):
        self.head(302, Location=f"{self.path}x", Content_Length=0)

    def redirects_to_itself(self):
        self.head(302, Location=self.path, Content_Length=0)

    def redirects_slowly(self):
        time.sleep(0.4)
        self.head(302, Location=f"{self.path}x", Content_Length=0)

    def redirects_to_a_file(self):
        self.head(302, Location=f"file://{__file__}")

    def redirects_elsewhere(self):
        self.head(301, Location="gopher://me:password@example.org/?token=abc")

    def redirects_oddly(self):
        self.head(301, Location=f"gopher:me:{TOKEN}@example.org")

    def redirects_with_a_page_without_end(self):
        self.head(302, Location=self.path.replace("with-a-page-without-end", "for-ever"))
        end = time.monotonic() + 4
        while time.monotonic() < end:
            self.wfile.write(CONTENT)

    def babbles(self):
        self.wfile.write(b"no HTTP \x1b[31m at all " * 20 + b"\r\n\r\n")

    def hangs_up(self):
        self.connection.close()

    def locked(self):
        if self.headers["Authorization"] == f"Basic {BASIC}":
            self.good()
        else:
            self.send(b"", status=401)

    def unlocked(self):
        self.send(CONTENT, status=400 if self.headers["Authorization"] else 200)

    def redirects_to_another_host(self):
        port = self.server.server_port
        self.head(302, Location=f"http://localhost:{port}/unlocked/x", Content_Length=0)

    def signed(self):
        self.send(CONTENT, status=200 if self.path.endswith(f".gz?sig={TOKEN}") else 403)

    def repeats_secrets(self):
        given = base64.b64decode(self.headers["Authorization"].split()[1])
        self.head(403, f"{given.decode()} {self.headers['Authorization']} {self.path}")

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
def fetch(monkeypatch, server, tmp_path):
    """Return a function that fetches from paths of the server, or your own mirror."""
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setattr(transfer, "_TIMEOUT", 0.5)
    monkeypatch.setattr(transfer, "_WINDOW", 1.0)
    monkeypatch.setattr(transfer, "_MAX_BYTES", 4 * len(CONTENT))
    folder = tmp_path / "raw"
    folder.mkdir()

    def fetch(*ways, own_mirror=None):
        mirrors = [f"{server}/{way}/mnist/" for way in ways]
        transfer.fetch("mnist", CHECKSUMS, mirrors, folder, own_mirror)
        assert sorted(file.name for file in folder.iterdir()) == NAMES
        assert {file.read_bytes() for file in folder.iterdir()} == {CONTENT}

    return fetch


def with_user(url, user_info=USER_INFO):
    return url.replace("://", f"://{user_info}@")


STALLS = "below 4,096 bytes/s for 1 s"
WAYS = {
    "forbidden": "HTTP 403 Forbidden",
    "not-found": "HTTP 404 Not Found",
    "broken": "HTTP 500",
    "partial": "HTTP 206",
    "forges": r"HTTP 403 no \x1b[31m error: forged xxx",
    "html": "sent HTML: 52 bytes, sha256 ",
    "other-bytes": "sent other bytes: 102,400 bytes, sha256 ",
    "cut-off": "cut off after 1,000 of 102,400 bytes",
    "cut-off-chunk": "cut off after 8,192 bytes",
    "no-chunk": "sends an invalid chunk length",
    "two-lengths": "Content-Length contained multiple unmatching values",
    "too-little": "sent other bytes: 1,000 bytes",
    "too-much": "sends more than 409,600 bytes",
    "promises-too-much": "sends more than 409,600 bytes",
    "stalls-at-once": "no byte for 0 s",
    "stalls-midway": "no byte for 0 s",
    "trickles": STALLS,
    "trickles-in-the-end": STALLS,
    "trickles-its-header": STALLS,
    "trickles-its-chunk-size": STALLS,
    "trickles-its-trailers": STALLS,
    "trailers-for-ever": STALLS,
    "goes-on-for-ever": STALLS,
    "redirects-for-ever": "redirects more than 10 times",
    "redirects-to-itself": "redirects more than 10 times",
    "redirects-slowly": STALLS,
    "redirects-to-a-file": "redirects to file:///",
    "redirects-elsewhere": "redirects to gopher://me:***@example.org/?token=***",
    "redirects-oddly": "redirects to gopher:***@example.org",
    "redirects-with-a-page-without-end": "redirects more than 10 times",
    "babbles": r"no HTTP \x1b[31m at all no",
    "hangs-up": "closed connection",
    "repeats-secrets": "HTTP 403 me:*** Basic *** /repeats-secrets/mnist/images.gz?sig=***",
}


QUICK = ("forbidden", "html", "cut-off", "redirects-elsewhere")


@pytest.mark.parametrize(("way", "reason"), WAYS.items())
def test_a_mirror_that_misbehaves_is_skipped_with_one_line(
    way, reason, fetch, server, capsys
):
    start = time.monotonic()
    fetch("good", own_mirror=with_user(f"{server}/{way}?sig={TOKEN}"))
    assert time.monotonic() - start < 3
    text = capsys.readouterr().out
    lines = text.split("\n")
    assert all(line.isprintable() and len(line) < 250 for line in lines)
    mirror = with_user(f"{server}/{way}/mnist?sig=***", "me:***")
    assert lines[0].startswith(f"skipping {mirror}: images.gz: ")
    assert reason in lines[0]
    assert text.count(mirror) == 1  # asked once, not for each file
    for secret in (PASSWORD, USER_INFO.partition(":")[2], BASIC, TOKEN):
        assert secret not in text


@pytest.mark.parametrize(
    "way",
    [
        "good",
        "slow",
        "chunked",
        "labelled-gzip",
        "length-twice",
        "length-nonsense",
        "length-negative",
        "redirects",
    ],
)
def test_what_is_odd_but_sends_the_right_bytes_is_taken(way, fetch, server, capsys):
    fetch(way)
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: 102,400 bytes from {server}/{way}/mnist/" for name in NAMES
    ]


def test_a_terminal_shows_a_bar_for_each_file(fetch, terminal):
    shown = terminal()
    fetch("good")
    assert "images.gz: 100%" in shown.getvalue()
    assert "102k/102k" in shown.getvalue()


def test_when_no_mirror_is_left_the_error_lists_each_with_its_reason(
    fetch, server, tmp_path
):
    with pytest.raises(NoMirrorError) as caught:
        fetch(*QUICK, own_mirror=with_user(f"{server}/repeats-secrets?sig={TOKEN}"))
    first, own, *reasons, advice, _ = str(caught.value).split("\n")
    assert first == "no mirror served images.gz of mnist:"
    assert own == (
        f"  {with_user(f'{server}/repeats-secrets/mnist?sig=***', 'me:***')}  images.gz: "
        f"{WAYS['repeats-secrets']}"
    )
    for line, way in zip(reasons, QUICK, strict=True):
        assert line.startswith(f"  {server}/{way}/mnist/  images.gz: {WAYS[way]}")
    assert "set DATA_MIRROR to a folder or URL" in advice
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_server_that_is_down_is_skipped(fetch, capsys):
    fetch("good", own_mirror="http://127.0.0.1:9/")
    assert capsys.readouterr().out.startswith(
        "skipping http://127.0.0.1:9/mnist: images.gz: Connection refused\n"
    )


def test_a_server_that_does_not_answer_is_skipped(fetch, capsys):
    with contextlib.ExitStack() as sockets:
        deaf = sockets.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):  # these fill its queue
            caller = sockets.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        fetch("good", own_mirror="http://127.0.0.1:{1}".format(*deaf.getsockname()))
    assert "/mnist: images.gz: no answer for 0 s" in capsys.readouterr().out


def test_a_name_that_no_server_knows_is_skipped(fetch, capsys):
    fetch("good", own_mirror="http://nowhere.invalid/")
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("skipping http://nowhere.invalid/mnist: images.gz: ")
    assert "HTTPConnection" not in line


def test_a_name_server_that_never_answers_is_waited_for_no_longer(
    fetch, monkeypatch, capsys
):
    # The machine's own name server answers; this one is as deaf to signals as the system's.
    known, never = socket.getaddrinfo, threading.Event()

    def look_up(host, *arguments, **keywords):
        if host == "mirror.example":
            never.wait()
        return known(host, *arguments, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    start = time.monotonic()
    fetch("good", own_mirror="http://mirror.example/")
    assert time.monotonic() - start < 3
    assert f"mirror.example/mnist: images.gz: {STALLS}" in capsys.readouterr().out
    never.set()


def test_proxies_are_taken_from_the_environment(fetch, server, monkeypatch, capsys):
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", server)
    fetch(own_mirror="http://mirror.example/good")
    assert "bytes from http://mirror.example/good/mnist" in capsys.readouterr().out


def test_a_proxy_that_is_down_is_named_without_its_password(fetch, monkeypatch, capsys):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    down, wrong = "the proxy: Connection refused", "its URL, or that of the proxy, is not"
    for proxy, reason in {
        "http://me:password@127.0.0.1:9": down,
        "http://me:password@127.0.0.1:99999": wrong,
        "http://me:pass/word@127.0.0.1:9": wrong,
        "me:password@127.0.0.1:9": wrong,
    }.items():
        monkeypatch.setenv("http_proxy", proxy)
        fetch("good", own_mirror="http://mirror.example/")
        output = capsys.readouterr().out
        assert f"skipping http://mirror.example/mnist: images.gz: {reason}" in output
        assert "pass" not in output


@pytest.mark.parametrize("scheme", ["http", "https"])  # https asks for a tunnel
def test_what_a_proxy_repeats_of_its_password_is_not_shown(
    fetch, server, monkeypatch, capsys, scheme
):
    def refuse(handler):
        given = base64.b64decode(handler.headers["Proxy-Authorization"].split()[1])
        handler.send_error(
            407, f"{given.decode()} {handler.headers['Proxy-Authorization']}"
        )

    monkeypatch.setattr(Handler, "do_GET", refuse)
    monkeypatch.setattr(Handler, "do_CONNECT", refuse, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv(f"{scheme}_proxy", with_user(server, "me:pa%20ssword"))
    with pytest.raises(NoMirrorError) as caught:
        fetch(own_mirror=f"{scheme}://mirror.example/")
    assert "407 me:*** Basic ***" in str(caught.value)
    assert "ssword" not in capsys.readouterr().out + str(caught.value)


@pytest.mark.parametrize("form", ["folder", "folder/", "relative", "file URL", "http URL"])
def test_your_own_mirror_is_tried_first(form, fetch, server, tmp_path, capsys, monkeypatch):
    mine = tmp_path / "my files" / "mnist"
    mine.mkdir(parents=True)
    for name in NAMES:
        (mine / name).write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    own = {
        "folder": str(mine.parent),
        "folder/": f"{mine.parent}/",
        "relative": "my files",
        "file URL": mine.parent.as_uri(),
        "http URL": f"{server}/good",
    }[form]
    fetch("broken", own_mirror=own)
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: 102,400 bytes from {own.rstrip('/')}/mnist" for name in NAMES
    ]


def test_your_own_mirror_may_begin_with_your_home(fetch, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    for name in NAMES:
        (tmp_path / "mnist" / name).write_bytes(CONTENT)
    fetch(own_mirror="~")


def _fifo(path):
    path.mkdir()
    os.mkfifo(path / "images.gz")


def _too_large(path):
    path.mkdir()
    with (path / "images.gz").open("wb") as file:
        file.truncate(2**40)


FOLDERS = {
    "nothing": (lambda path: None, "No such file or directory"),
    "a file in its place": (lambda path: path.touch(), "Not a directory"),
    "a loop of links": (lambda path: path.symlink_to(path), "Too many levels of symbolic"),
    "a FIFO": (_fifo, "not a regular file"),
    "a folder": (lambda path: (path / "images.gz").mkdir(parents=True), "not a regular"),
    "a device": (lambda path: path.symlink_to("/dev/fd"), "No such file or directory"),
    "a terabyte": (_too_large, "sends more than 409,600 bytes"),
}


@pytest.mark.parametrize(("make", "reason"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_that_is_no_mirror_is_skipped_with_one_line(
    make, reason, fetch, tmp_path, capsys
):
    make(tmp_path / "mnist")
    start = time.monotonic()
    fetch("good", own_mirror=str(tmp_path))
    assert time.monotonic() - start < 1
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith(f"skipping {tmp_path}/mnist: images.gz: {reason}")


def test_a_device_is_not_read(fetch, tmp_path, capsys):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist/images.gz").symlink_to("/dev/zero")
    fetch("good", own_mirror=str(tmp_path))
    assert "images.gz: not a regular file" in capsys.readouterr().out.splitlines()[0]


ADDRESSES = {
    "~nosuchuser/x": "home directory",
    "s3://bucket": "not an http, https or file URL",
    "://": "not an http, https or file URL",
    "http://": "not a valid URL",
    "http://[::1": "not a valid URL",
    "http://127.0.0.1:port": "not a valid URL",
    "http://127.0.0.1:99999": "not a valid URL",
    "http://*.example/": "its URL, or that of the proxy, is not valid",
    "http://" + "x" * 300: "label",
    "me:secret@host/mnist": "no such file; a URL begins with http:// or https://",
    "http:/me:secret@host": "no such file; a URL begins with http:// or https://",
    "//me:secret@host": "no such file; a URL begins with http:// or https://",
    "https:\\\\me:secret@host": "no such file; a URL begins with http:// or https://",
    "http:///me:secret@host": "not a valid URL",
    "file://elsewhere/data": "names a host; a file URL begins with file:///",
    "file:///%00": "null",
    "two\nlines \x1b[31m": "No such file or directory",
    "\udcff": "No such file or directory",  # how Python sees a byte that is no UTF-8
}


@pytest.mark.parametrize(("own", "reason"), ADDRESSES.items(), ids=map(repr, ADDRESSES))
def test_an_address_that_leads_nowhere_is_skipped_with_one_line(own, reason, fetch, capsys):
    fetch("good", own_mirror=own)
    first, _ = capsys.readouterr().out.split("\n", 1)
    assert first.startswith("skipping ")
    assert reason in first
    assert first.isprintable()
    assert "secret" not in first
    assert len(first) < 350


def test_a_password_opens_a_mirror_and_is_not_shown(fetch, server, capsys):
    own = f"{server}/locked"
    fetch(own_mirror=with_user(own))
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: 102,400 bytes from {with_user(own, 'me:***')}/mnist" for name in NAMES
    ]


def test_a_token_in_a_query_opens_a_mirror_and_is_not_shown(fetch, server, capsys):
    fetch(own_mirror=f"{server}/signed/?sig={TOKEN}")
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: 102,400 bytes from {server}/signed/mnist?sig=***" for name in NAMES
    ]


@pytest.mark.parametrize(
    ("address", "shown"),
    {
        "http://me:secret@host:80/x?sig=secret&v=1": "http://me:***@host:80/x?sig=***&v=***",
        "http://secret@host/x?secret": "http://***@host/x?***",
        "http://secret:@host/": "http://***@host/",
        "http://me:sec/ret@host/": "http://me:***@host/",
        "http://me:sec?ret#@ret@host/": "http://me:***@host/",
        "http://me://secret@host/": "http://me:***@host/",
        "http://host:80/a@b/": "http://host:***@b/",  # rather too much
        "http://host/;v=secret/x;secret?a": "http://host/;***/x;***?***",
        "http://host/x#token=secret": "http://host/x#token=***",
        "http://host/http://me:secret@other": "http://host/http:***@other",
        "me:secret@host/x?sig=secret": "me:***@host/x?sig=***",
        "secret@host/x": "***@host/x",
        "//me:secret@host": "//me:***@host",
        "http:/me:secret@host": "http:***@host",
        "http:///me:secret@host": "http:///me:***@host",
        "http:me:secret@host": "http:***@host",
        "https:\\\\me:sec\nret@host": "https:***@host",
        "gopher:me:secret@host": "gopher:***@host",
        "/folder/a:b@c?d=e": "/folder/a:b@c?d=e",
        "~/a;b@c": "~/a;b@c",
    }.items(),
)
def test_what_is_shown_of_an_address(address, shown):
    assert transfer.shown(address) == shown


def test_a_password_does_not_follow_a_redirect_to_another_host(fetch, server):
    fetch(own_mirror=with_user(f"{server}/redirects-to-another-host"))


@pytest.mark.parametrize("way", ["unlocked", "redirects-to-another-host"])
def test_passwords_of_netrc_are_not_sent(way, fetch, server, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    hosts = ("127.0.0.1", "localhost")
    netrc.write_text("".join(f"machine {h} login me password secret\n" for h in hosts))
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    fetch(way)
