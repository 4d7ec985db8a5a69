"""Feed the reader of ``params.yaml``: ``python tests/fuzz/params.py 50000``.

What it accepts is what DVC reads from the same file.
"""

import sys
import tempfile
from pathlib import Path

from damage import damaged
from dvc.utils.serialize import parse_yaml
from feeding import feed
from hypothesis import strategies as st

from mnist_lstm.plumbing.params import load_params

ORIGINAL = Path("params.yaml").read_bytes()
WORDS = st.sampled_from(
    "0 1 -1 020 0x1f 1_0 1e-3 .5 .inf .nan ~ null true yes 2026-11-25 1:30 '16' [] {} "
    "&a *a !!int !!float !!str <<: - ? | > # % @ ` \t".split(" ")
)


@st.composite
def rewritten(draw: st.DrawFn) -> bytes:
    """Return the file with some values replaced by other words of YAML."""
    lines = ORIGINAL.decode().splitlines()
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        key = lines[at].partition(":")[0]
        lines[at] = f"{key}: {' '.join(draw(st.lists(WORDS, max_size=3)))}"
    return "\n".join(lines).encode()


def main(n: int) -> None:
    """Feed it ``n`` files."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"

        def read(content: bytes) -> None:
            path.write_bytes(content)
            ours = load_params(path).model_dump()
            theirs = parse_yaml(path.read_text(encoding="utf-8"), "params.yaml")
            assert ours == theirs, path.read_text()

        originals = st.one_of(rewritten(), rewritten(), st.binary(max_size=100))
        feed(n, damaged(originals, most=2), read)


if __name__ == "__main__":
    main(int(sys.argv[1]))
