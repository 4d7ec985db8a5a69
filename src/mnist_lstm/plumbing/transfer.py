"""Fetch files of known checksum, each from the first mirror that serves it.

A mirror is a folder or an http, https or file URL. What it serves is trusted for its
checksum alone; a mirror that is slow, broken or hostile is skipped with one line.
"""

import base64
import hashlib
import http.client
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urljoin, urlsplit
from urllib.request import getproxies, url2pathname

import requests

from mnist_lstm.plumbing.errors import UserError, one_line
from mnist_lstm.plumbing.files import write_bytes
from mnist_lstm.plumbing.progress import bar

_TIMEOUT = 15.0  # seconds to connect, and between two bytes from a server
_WINDOW = 30.0  # seconds in each of which a transfer must keep up _MIN_RATE
_MIN_RATE = 4096  # bytes/s, below the slowest line on which anyone would wait
_MAX_BYTES = 64 * 2**20  # the largest file is 18 MB
_MAX_REDIRECTS = 10
_CHUNK = 2**13  # a library may wait until it is full: 2 s at _MIN_RATE
_PATH = re.compile(r"[~.]|/(?!/)")  # begins so
_URL_LIKE = re.compile(r"https?:|//|\\\\|.*@", re.DOTALL)  # and is none

Authentication = Callable[[requests.PreparedRequest], requests.PreparedRequest]


class Checksum(NamedTuple):
    """What a file's bytes must hash to."""

    algorithm: str
    digest: str


class NoMirrorError(UserError):
    """No mirror served a file; `tools/repro` knows this error by its first line."""


class TransferError(Exception):
    """Why a mirror is skipped."""


def fetch(
    name: str,
    checksums: Mapping[str, Checksum],
    mirrors: list[str],
    folder: Path,
    own_mirror: str | None = None,
) -> None:
    """Fetch the files of data set ``name`` into ``folder``.

    Args:
        name: what messages call the data set.
        checksums: of each file, by its name.
        mirrors: public base URLs; each holds the files.
        folder: an existing folder.
        own_mirror: a folder or base URL that holds ``<name>/<file>``; tried first.

    Raises:
        NoMirrorError: each mirror with its reason, and what to do.
    """
    if own_mirror:
        mirrors = [_below(own_mirror, name), *mirrors]
    skipped: dict[str, str] = {}
    for file, checksum in checksums.items():
        for mirror in [m for m in mirrors if m not in skipped]:
            try:
                data = read(_below(mirror, file))
                _check(data, checksum)
            except TransferError as reason:
                skipped[mirror] = f"{file}: {reason}"
                print(f"skipping {shown(mirror)}: {skipped[mirror]}")
            else:
                write_bytes(folder / file, data)
                print(f"{file}: {len(data):,} bytes from {shown(mirror)}")
                break
        else:
            raise NoMirrorError(*_all_failed(name, file, skipped))


def read(address: str) -> bytes:
    """Return the content of ``address``, a path or a URL; show a bar on a terminal.

    Raises:
        TransferError: what is wrong, in one line without a password or token.
    """
    transfer = _Transfer(address)
    transfer.start()
    title = one_line(address.partition("?")[0].rpartition("/")[2], 100)
    with bar(None, title, "B") as progress:
        window, size = time.monotonic(), 0
        alive = True
        while alive:
            transfer.join(0.05)
            alive = transfer.is_alive()
            progress.total = transfer.promised
            progress.update(len(transfer.data) - progress.n)
            if alive and time.monotonic() - window > _WINDOW:
                came = len(transfer.data) - size
                if came < _MIN_RATE * _WINDOW:
                    transfer.abandoned = True
                    raise TransferError(f"below {_MIN_RATE:,} bytes/s for {_WINDOW:.0f} s")
                window, size = time.monotonic(), size + came
    if transfer.error:
        raise TransferError(_reason(transfer)) from None
    return bytes(transfer.data)


def shown(address: str) -> str:
    """Return ``address`` as it may be printed: no password, no token, in one line.

    It may not be the URL that it was meant to be. So the first colon counts and the last
    "@", and rather too much is hidden; but of a path nothing.
    """
    if _PATH.match(address):
        return one_line(address, 200)
    scheme, rest = _scheme(address)
    rest = re.sub(r"^[^/?#:]*:?@", "***@", re.sub(r":.+@", ":***@", rest, flags=re.DOTALL))
    place, mark, query = re.split(r"([?#]|$)", rest, maxsplit=1)
    place = re.sub(r";[^/]*", ";***", place)
    # A part without a "=" may be a token, too.
    values = [f"{key}=***" if is_ else "***" for key, is_, _ in _parts(query)]
    return one_line(f"{scheme}{place}{mark}{'&'.join(values)}", 200)


class _Transfer(threading.Thread):
    """Reads ``address`` in the background, so that a clock can watch what has come.

    A library's time limits leave something out: the look-up of a name, redirects, headers
    or trailers that trickle, a disk; and a signal does not end each wait of the system.
    """

    def __init__(self, address: str):
        super().__init__(daemon=True)  # one that waits for ever keeps no one from ending
        self.address = address
        self.data = bytearray()
        self.promised: int | None = None  # bytes, where the mirror says so
        self.error: Exception | None = None
        self.abandoned = False

    def run(self) -> None:
        """Fill ``data``, or set ``error``: whatever it is, the next mirror may serve."""
        try:
            for chunk in self._chunks():
                self.data += chunk
                if max(len(self.data), self.promised or 0) > _MAX_BYTES:
                    raise TransferError(f"sends more than {_MAX_BYTES:,} bytes")
                if self.abandoned:
                    return
        except Exception as error:
            self.error = error

    def _chunks(self) -> Iterator[bytes]:
        if "://" not in self.address:
            return self._file(_path(self.address))
        url = _split(self.address)
        if url.scheme in ("http", "https"):
            return self._http(url)
        if url.scheme != "file":
            raise TransferError("not an http, https or file URL")
        if url.netloc not in ("", "localhost"):
            raise TransferError("names a host; a file URL begins with file:///")
        return self._file(Path(url2pathname(url.path)))

    def _file(self, path: Path) -> Iterator[bytes]:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a FIFO, say, or a device without an end
            raise TransferError("not a regular file")
        self.promised = status.st_size
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def _http(self, url: SplitResult) -> Iterator[bytes]:
        # The password is in none of the URLs that a library could put into an error.
        bare = url._replace(netloc=url.netloc.rpartition("@")[2], fragment="").geturl()
        with (
            _Session(_authentication(url)) as session,
            session.get(
                bare,
                stream=True,
                timeout=_TIMEOUT,
                headers={"Accept-Encoding": "identity"},
                hooks={"response": _check_redirect},
            ) as response,
        ):
            if response.status_code != requests.codes.ok:
                raise TransferError(f"HTTP {response.status_code} {response.reason}")
            self.promised = response.raw.length_remaining
            # Not decoded: the checksum is that of the gzipped file.
            yield from response.raw.stream(_CHUNK, decode_content=False)


class _Session(requests.Session):
    """Takes proxies and certificates from the environment, but no password from netrc."""

    def __init__(self, auth: Authentication):
        super().__init__()
        self.auth = auth  # where there is one, requests does not look into netrc
        self.max_redirects = _MAX_REDIRECTS

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Show another host no password, as requests does, which then looks into netrc."""
        if self.should_strip_auth(response.request.url, prepared_request.url):
            prepared_request.headers.pop("Authorization", None)


def _path(address: str) -> Path:
    path = Path(address).expanduser()
    if _URL_LIKE.match(address) and not os.path.lexists(path):
        raise TransferError("no such file; a URL begins with http:// or https://")
    return path


def _split(address: str) -> SplitResult:
    try:
        url = urlsplit(address)
        valid = url.port != 0  # raises where it is no number
    except ValueError:
        valid = False
    if not valid or (url.scheme in ("http", "https") and not url.hostname):
        raise TransferError("not a valid URL")
    return url


def _authentication(url: SplitResult) -> Authentication:
    if url.username is None:
        return lambda request: request
    user, password = (unquote(part or "") for part in (url.username, url.password))
    return requests.auth.HTTPBasicAuth(user.encode(), password.encode())


def _check_redirect(response: requests.Response, **_: object) -> None:
    """Refuse a redirect to anything but http and https; read none of the page with it."""
    if response.is_redirect:
        target = urljoin(response.url, response.headers["location"])
        if urlsplit(target).scheme not in ("http", "https"):
            raise TransferError(f"redirects to {shown(target)}")
        response.close()


def _check(data: bytes, checksum: Checksum) -> None:
    found = hashlib.new(checksum.algorithm, data).hexdigest()
    if found != checksum.digest:
        what = "HTML" if data.lstrip()[:1] == b"<" else "other bytes"
        raise TransferError(
            f"sent {what}: {len(data):,} bytes, {checksum.algorithm} {found[:12]}..., "
            f"expected {checksum.digest[:12]}..."
        )


def _below(address: str, name: str) -> str:
    """Return the address of ``name`` below ``address``; a query stays at the end."""
    scheme, rest = _scheme(address)
    if not scheme:
        return f"{address.rstrip('/')}/{name}"
    user, rest = _split_user(rest)
    path, question, query = rest.partition("#")[0].partition("?")
    at = "@" if user else ""
    return f"{scheme}{user}{at}{path.rstrip('/')}/{name}{question}{query}"


def _scheme(address: str) -> tuple[str, str]:
    """Split ``address`` after its ``://``, if it has one."""
    end = address.find("://")
    return (address[: end + 3], address[end + 3 :]) if end >= 0 else ("", address)


def _split_user(rest: str) -> tuple[str, str]:
    """Split what follows ``://`` into ``user:password``, if any, and the host and so on.

    A password should be percent-encoded; in one that is not, "/", "?", "#" and "@" are
    taken for its own, lest half of it be shown.
    """
    in_authority = re.match(r"[^/?#]*@", rest)
    not_a_port = re.match(r"[^/?#@:\[]+:(?!\d*([/?#]|$)).*@", rest)
    if not_a_port:
        end = rest.rindex("@")
    elif in_authority:
        end = in_authority.end() - 1
    else:
        return "", rest
    return rest[:end], rest[end + 1 :]


def _parts(query: str) -> list[tuple[str, str, str]]:
    return [part.partition("=") for part in query.split("&")] if query else []


def _reason(transfer: _Transfer) -> str:
    """Say why ``transfer`` failed, in one line without a password or token."""
    words = _words(transfer)
    for address in (transfer.address, *getproxies().values()):
        for secret in _secrets(address):
            words = words.replace(secret, "***")
    return one_line(words, 100)


def _words(transfer: _Transfer) -> str:
    error: BaseException | None = transfer.error
    if error is None or isinstance(error, TransferError):
        return str(error)
    if isinstance(error, requests.TooManyRedirects):
        return f"redirects more than {_MAX_REDIRECTS} times"
    if isinstance(error, requests.ConnectTimeout):
        return f"no answer for {_TIMEOUT:.0f} s"
    if isinstance(error, requests.exceptions.InvalidURL):
        return "its URL, or that of the proxy, is not valid"  # they quote it
    by = "the proxy: " if isinstance(error, requests.exceptions.ProxyError) else ""
    # requests and urllib3 wrap what the system says in what they did, URL and all.
    while cause := error.__cause__ or error.__context__:
        if isinstance(error, http.client.IncompleteRead):
            return "sends an invalid chunk length"
        error = cause
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"{by}no byte for {_TIMEOUT:.0f} s"
    if isinstance(error, http.client.IncompleteRead):
        of = f" of {transfer.promised:,}" if transfer.promised else ""
        return f"cut off after {len(transfer.data):,}{of} bytes"
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return by + re.sub(r"//\S*@", "//***@", words)


def _secrets(address: str) -> list[str]:
    """Return what a server that knows it, or a library, must not put into an error."""
    user, rest = _split_user(_scheme(address)[1])
    password = user.partition(":")[2] or user
    basic = base64.b64encode(unquote(user).encode(errors="replace")).decode()
    parts = re.split(r"[?;&]", rest.partition("#")[0])[1:]
    values = [part.partition("=")[2] or part for part in parts]
    # Of a query, "v=1" is no secret, and its digit stands in many an error.
    found = [password, basic, *(value for value in values if len(value) > 5)]
    return [secret for text in found if text for secret in (text, unquote(text))]


def _all_failed(name: str, file: str, skipped: dict[str, str]) -> list[str]:
    return [
        f"no mirror served {file} of {name}:",
        *(f"  {shown(mirror)}  {why}" for mirror, why in skipped.items()),
        "Try again later, or set DATA_MIRROR to a folder or URL that holds",
        f"{name}/{file} and the other files.",
    ]
