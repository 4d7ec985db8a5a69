"""Feed the IDX codec: ``python tests/fuzz/idx.py 100000``.

Files that promise other than they hold, damaged before or after they are zipped, and ones
that unpack to far more than they are.
"""

import gzip
import math
import struct
import sys
import tempfile
from pathlib import Path

from damage import damaged
from feeding import feed
from hypothesis import strategies as st

from mnist_lstm import idx
from mnist_lstm.plumbing.errors import IdxError

SIZES = st.one_of(st.integers(1, 12), st.integers(0, 2**32 - 1))


@st.composite
def idx_bytes(draw: st.DrawFn) -> bytes:
    """Return an IDX file before it is zipped; it may promise more or less than it holds."""
    shape = draw(st.lists(SIZES, min_size=0, max_size=4))
    magic = bytes((0, 0, 8, len(shape)))
    magic = draw(st.one_of(st.just(magic), st.just(magic), st.binary(max_size=4)))
    held = min(math.prod(shape), 2000)
    held = max(0, held + draw(st.one_of(st.just(0), st.integers(-20, 20))))
    values = draw(st.sampled_from((b"\0", b"\7", b"\xff"))) * held
    return magic + struct.pack(f">{len(shape)}I", *shape) + values


@st.composite
def zipped(draw: st.DrawFn) -> bytes:
    """Return the bytes of a file: zipped once, or twice, or not."""
    content = draw(st.one_of(idx_bytes(), idx_bytes(), st.binary(max_size=200)))
    ways = (gzip.compress, bytes, lambda b: gzip.compress(b) + gzip.compress(b))
    return draw(st.sampled_from((gzip.compress, *ways)))(content)


def bombs() -> list[bytes]:
    """Return small files that unpack to much: as their header says, or far more."""
    zeros = bytes(2**26)
    kept = gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 2**26) + zeros)
    more = struct.pack(">BBBBI", 0, 0, 8, 1, 4) + zeros
    broken = struct.pack(">BBBBI", 0, 0, 8, 1, 2**32 - 1) + zeros
    return [kept, gzip.compress(more) * 20, gzip.compress(broken)]


def main(n: int) -> None:
    """Feed it the bombs and ``n`` other files."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.gz"

        def read(content: bytes, ndim: int) -> None:
            path.write_bytes(content)
            array = idx.read(path, ndim)
            assert len(array.data) == math.prod(array.shape)
            assert len(array.shape) == ndim

        kept, *others = bombs()
        read(kept, 1)
        for bomb in others:
            try:
                read(bomb, 1)
            except IdxError:
                continue
            raise AssertionError("a bomb was read")
        feed(n, st.tuples(damaged(zipped()), st.integers(1, 3)), lambda file: read(*file))


if __name__ == "__main__":
    main(int(sys.argv[1]))
