"""Fetch files of known MD5, each from the first mirror that serves it.

What a mirror serves is trusted for its checksum alone. One that is slow or broken is
skipped in bounded time, with one line that shows no password.
"""

import hashlib
import time
from pathlib import Path
from typing import NamedTuple

import requests
import urllib3

from mnist_lstm.plumbing.errors import UserError, printable
from mnist_lstm.plumbing.files import write_bytes
from mnist_lstm.plumbing.progress import bar

_TIMEOUT = 15.0  # seconds to connect, and between two bytes
_GRACE = 30.0  # seconds after which a mirror must have kept up _MIN_RATE
_MIN_RATE = 4096  # bytes/s, below the slowest line on which anyone would wait


class NoMirrorError(UserError):
    """No mirror served a file; `tools/repro` knows this error by its first line."""


class Source(NamedTuple):
    """A file: its name, MD5 and addresses."""

    file: str
    md5: str
    urls: list[str]


class _Unfit(Exception):  # noqa: N818 - a reason, not an error
    """Why a mirror is skipped."""


def fetch(
    name: str, sources: list[Source], folder: Path, own_mirror: str | None = None
) -> None:
    """Fetch the files of data set ``name`` into ``folder``; see ``datasets.fetch``.

    Raises:
        NoMirrorError: each mirror with its reason, and what to do.
    """
    skipped: dict[str, str] = {}
    for file, md5, urls in sources:
        for url in [_below(own_mirror, name, file), *urls] if own_mirror else urls:
            mirror = _shown(url).removesuffix(file)
            if mirror in skipped:
                continue
            try:
                data = _read(url, md5)
            except _Unfit as reason:
                skipped[mirror] = f"{file}: {reason}"
                print(f"skipping {mirror}: {skipped[mirror]}")
            else:
                write_bytes(folder / file, data)
                print(f"{file}: {len(data):,} bytes from {mirror}")
                break
        else:
            raise NoMirrorError(
                f"no mirror served {file} of {name}:",
                *(f"  {mirror}  {why}" for mirror, why in skipped.items()),
                "Try again later, or set DATA_MIRROR to a folder or URL that holds",
                f"{name}/{file} and the other files.",
            )


def _read(url: str, md5: str) -> bytes:
    """Return what ``url``, an address or a path, serves, if its MD5 is right."""
    try:
        data = _read_http(url) if "://" in url else Path(url).expanduser().read_bytes()
    # requests raises OSError, urllib3 beneath it HTTPError, both ValueError for odd URLs
    except (OSError, urllib3.exceptions.HTTPError, ValueError) as error:
        raise _Unfit(type(error).__name__) from None  # its own words may quote the URL
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
        what = "HTML" if data.lstrip()[:1] == b"<" else "other bytes"
        raise _Unfit(f"sent {what}: {len(data):,} bytes that do not have the MD5 {md5}")
    return data


def _read_http(url: str) -> bytes:
    data = bytearray()
    start = time.monotonic()
    # as they are: the checksum is that of the zipped file
    headers = {"Accept-Encoding": "identity"}
    with requests.get(url, stream=True, timeout=_TIMEOUT, headers=headers) as response:
        if response.status_code != requests.codes.ok:
            raise _Unfit(f"HTTP {response.status_code}")
        title = _shown(url).rpartition("/")[2]
        with bar(response.raw.length_remaining, title, "B") as progress:
            while chunk := response.raw.read1(2**16, decode_content=False):
                data += chunk
                progress.update(len(chunk))
                if time.monotonic() - start > _GRACE + len(data) / _MIN_RATE:
                    raise _Unfit(f"sends less than {_MIN_RATE:,} bytes/s")
    return bytes(data)


def _below(base: str, name: str, file: str) -> str:
    """Return the address of ``name/file`` below ``base``; a query stays at the end."""
    address, question, query = base.partition("?") if "://" in base else (base, "", "")
    return f"{address.rstrip('/')}/{name}/{file}{question}{query}"


def _shown(url: str) -> str:
    """Return ``url`` without a user, password or query, however they are spelt."""
    scheme, colon, rest = url.partition("://")
    if not colon:
        return printable(url)
    return printable(f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}")
