"""The IDX codec: the format of MNIST's four files, gzip included.

An IDX file of bytes is a magic number (0, 0, 8, number of dimensions), each dimension as
a big-endian uint32, then the values. Format: http://yann.lecun.com/exdb/mnist/.
"""

import gzip
import io
import math
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from mnist_lstm.plumbing.errors import IdxError
from mnist_lstm.plumbing.files import read_regular, write_bytes

_UINT8 = 8
# Above any data set that is read here (MNIST: 47 MB), and so small that preparing files
# which promise as much, and keep it, takes less than 1 GiB.
_MAX_BYTES = 2**26
_MAX_ZIPPED = 2 * _MAX_BYTES  # gzip hardly lengthens even what it cannot shorten

_GZIP = b"\x1f\x8b"


class Array(NamedTuple):
    """Unsigned bytes with a shape, the last dimension running fastest."""

    shape: tuple[int, ...]
    data: bytes


def read(path: Path, ndim: int) -> Array:
    """Decode the gzipped IDX file ``path``, which must have ``ndim`` dimensions.

    Raises:
        IdxError: not gzip, damaged, wrong magic or number of dimensions, an empty
            dimension, more or fewer values than the header promises.
    """
    try:
        content = read_regular(path, _MAX_ZIPPED)
        if not content.startswith(_GZIP):
            raise IdxError.not_gzip(path, content[:4])
        stream = _Gunzip(content)
        shape = _read_header(path, stream.read(4 + 4 * ndim), ndim)
        promised = math.prod(shape)
        if promised > _MAX_BYTES:
            raise IdxError.too_big(path, promised, shape, _MAX_BYTES)
        data = stream.read(promised)
        if len(data) < promised:
            raise IdxError.short(path, len(data), promised, shape)
        if stream.read(1):
            raise IdxError.long(path, promised, shape)
        stream.check_end()
    except OSError as error:
        raise IdxError.unreadable(path, error.strerror) from None
    except (EOFError, zlib.error) as error:
        raise IdxError.damaged(path, error) from None
    return Array(shape, data)


def write(path: Path, array: Array) -> None:
    """Write ``array`` as a gzipped IDX file, the same bytes every time."""
    header = struct.pack(
        f">BBBB{len(array.shape)}I", 0, 0, _UINT8, len(array.shape), *array.shape
    )
    content = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=content, mtime=0) as stream:
        stream.write(header + array.data)
    write_bytes(path, content.getvalue())


class _Gunzip:
    """Unpacks a gzip file of one part, in time and memory that its length bounds.

    Python's own reads on after the end, part after part, each of which may be empty.
    """

    def __init__(self, content: bytes):
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)  # 16: with gzip's header
        self._rest = content

    def read(self, size: int) -> bytes:
        """Return the next ``size`` > 0 bytes; fewer at the end.

        Raises:
            zlib.error: no gzip, or damaged.
            EOFError: cut short.
        """
        data = self._stream.decompress(self._rest, size)
        self._rest = self._stream.unconsumed_tail
        if len(data) < size and not self._stream.eof:
            raise EOFError("cut short")
        return data

    def check_end(self) -> None:
        """Refuse what follows the end.

        Raises:
            zlib.error: something does.
        """
        if self._stream.unused_data:
            raise zlib.error("more bytes after its end")


def _read_header(path: Path, header: bytes, ndim: int) -> tuple[int, ...]:
    """Return the dimensions that ``header`` names, all of them at least 1."""
    magic = bytes((0, 0, _UINT8, ndim))
    if header[:4] != magic:
        raise IdxError.wrong_magic(path, ndim, header[:4], magic)
    if len(header) < 4 + 4 * ndim:
        raise IdxError.short_header(path)
    shape = struct.unpack(f">{ndim}I", header[4:])
    if 0 in shape:
        raise IdxError.empty(path, shape)
    return shape
