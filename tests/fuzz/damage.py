"""What becomes of a file: bits flip, parts go, come twice, or come from elsewhere."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_HOSTILE = [
    b"\0",
    b"\xff",
    b"\n",
    b"\r",
    b'"',
    b",",
    b"[",
    b"{",
    b"\x1b[31m",
    b"NaN",
    b"1e999",
]
_HOSTILE += [b"\nerror: ", b"<<: *a", b"&a ", b"*a", b"!!int ", b"- ", b": ", b"9" * 400]
_HOSTILE += ["\u2028\ud7ff\U0001f600".encode(), b"<<<<<<< HEAD\n"]


def damaged(originals: SearchStrategy, most: int = 4) -> SearchStrategy:
    """Return a strategy for ``originals``, bytes, with up to ``most`` damages each."""

    @st.composite
    def one(draw: st.DrawFn) -> bytes:
        content = bytearray(draw(originals))
        for _ in range(draw(st.integers(0, most))):
            at = draw(st.integers(0, max(0, len(content) - 1)))
            length = draw(st.integers(1, 40))
            match draw(
                st.sampled_from(("flip", "cut", "drop", "insert", "hostile", "repeat"))
            ):
                case "flip" if content:
                    content[at] ^= 1 << draw(st.integers(0, 7))
                case "cut":
                    del content[at:]
                case "drop":
                    del content[at : at + length]
                case "insert":
                    content[at:at] = draw(st.binary(max_size=8))
                case "hostile":
                    content[at:at] = draw(st.sampled_from(_HOSTILE))
                case "repeat":
                    content[at:at] = content[at : at + length] * draw(st.integers(1, 20))
        return bytes(content)

    return one()
