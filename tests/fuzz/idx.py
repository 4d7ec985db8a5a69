"""Feed the IDX codec damaged files: ``python tests/fuzz/idx.py 100000``.

Each is decoded whole or refused by name, without hanging, and all of them within 1 GiB of
memory. Exits with a traceback where that does not hold.
"""

import gzip
import math
import resource
import struct
import sys
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mnist_lstm import idx
from mnist_lstm.plumbing.errors import IdxError

MEMORY = 2**30  # bytes of address space, the interpreter's own included
HANG = 10_000  # milliseconds; a file takes less than one, but machines are shared
SIZES = st.one_of(st.integers(1, 12), st.integers(0, 2**32 - 1))


@st.composite
def idx_bytes(draw) -> bytes:
    """Return an IDX file before it is zipped; it may promise more or less than it holds."""
    shape = draw(st.lists(SIZES, min_size=0, max_size=4))
    magic = bytes((0, 0, 8, len(shape)))
    magic = draw(st.one_of(st.just(magic), st.just(magic), st.binary(max_size=4)))
    held = min(math.prod(shape), 2000)
    held = max(0, held + draw(st.one_of(st.just(0), st.integers(-20, 20))))
    values = draw(st.sampled_from((b"\0", b"\7", b"\xff"))) * held
    return magic + struct.pack(f">{len(shape)}I", *shape) + values


@st.composite
def files(draw) -> bytes:
    """Return the bytes of a file: zipped once, or twice, or not, then damaged."""
    content = draw(st.one_of(idx_bytes(), idx_bytes(), st.binary(max_size=200)))
    ways = (gzip.compress, bytes, lambda b: gzip.compress(b) + gzip.compress(b))
    content = bytearray(draw(st.sampled_from((gzip.compress, *ways)))(content))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        match draw(st.sampled_from(("flip", "cut", "insert", "repeat", "zero"))):
            case "flip" if content:
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del content[at:]
            case "insert":
                content[at:at] = draw(st.binary(max_size=8))
            case "repeat":
                content += content[at:]
            case "zero":
                content[at : at + 4] = bytes(4)
    return bytes(content)


def check(path: Path, content: bytes, ndim: int) -> bool:
    """Return whether ``content`` was decoded; raise where the codec breaks its word."""
    path.write_bytes(content)
    try:
        array = idx.read(path, ndim)
    except IdxError as error:
        (line,) = str(error).splitlines()
        assert line.startswith(f"{path}: "), line
        return False
    assert len(array.data) == math.prod(array.shape)
    assert len(array.shape) == ndim
    return True


def bombs() -> list[bytes]:
    """Return small files that unpack to much: as their header says, or far more."""
    zeros = bytes(2**26)
    kept = gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 2**26) + zeros)
    more = struct.pack(">BBBBI", 0, 0, 8, 1, 4) + zeros
    broken = struct.pack(">BBBBI", 0, 0, 8, 1, 2**32 - 1) + zeros
    return [kept, gzip.compress(more) * 20, gzip.compress(broken)]


def main(n: int) -> None:
    """Feed the codec the bombs and ``n`` other files; say what came of them."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    fed = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.gz"
        decoded = [check(path, content, 1) for content in bombs()]
        assert decoded == [True, False, False]

        @settings(
            max_examples=n,
            deadline=HANG,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(files(), st.integers(1, 3))
        def feed(content: bytes, ndim: int) -> None:
            nonlocal fed
            fed += 1
            decoded.append(check(path, content, ndim))

        while fed < n:  # it may stop before, where it sees nothing new
            feed()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{fed:,} files, {sum(decoded):,} decoded, peak memory {peak:,.0f} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]))
