"""Feed the readers of safetensors: ``python tests/fuzz/tensorfile.py 50000``.

Headers of any form, and files that this project wrote, damaged: what is accepted as a
split, a model or plain tensors is whole.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from damage import damaged
from feeding import feed
from hypothesis import strategies as st

from mnist_lstm.model import LSTMClassifier, Reads, load_model, save_model
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.plumbing.params import ModelParams, load_params
from mnist_lstm.splits import Split, load_split, save_split
from mnist_lstm.tensorfile import load_tensors, save_tensors

SCRATCH = tempfile.TemporaryDirectory()
TYPES = (
    "BOOL U8 I8 F8_E5M2 F8_E4M3 F4 I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64 X".split()
)
SIZES = st.one_of(st.integers(0, 9), st.sampled_from([-1, 2**31, 2**63, 2**64, 1.5, None]))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), SIZES, st.text(max_size=5), st.floats()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)
DEEP = st.sampled_from([1, 100, 2000, 50_000]).map(lambda n: "[" * n + "]" * n)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """Return a file of a header of any form and some bytes."""
    tensor = st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(TYPES),
            "shape": st.lists(SIZES, max_size=3),
            "data_offsets": st.lists(SIZES, min_size=1, max_size=3),
        }
    )
    names = st.one_of(st.sampled_from(["images", "labels", "a\nerror: b"]), st.text())
    header = draw(st.dictionaries(names, st.one_of(tensor, tensor, JSON), max_size=3))
    header["__metadata__"] = draw(
        st.one_of(
            st.fixed_dictionaries({"metadata": st.one_of(JSON.map(json.dumps), DEEP)}), JSON
        )
    )
    content = json.dumps(header).encode()
    length = len(content) + draw(st.sampled_from([0, 0, 0, 1, -1, 2**40]))
    return length.to_bytes(8, "little") + content + bytes(draw(st.integers(0, 40)))


@st.composite
def whole(draw: st.DrawFn) -> bytes:
    """Return tensors of any type with metadata of any form and the right checksum."""
    dtypes = st.sampled_from([torch.uint8, torch.bfloat16, torch.int64, torch.float8_e5m2])
    tensors = {
        name: torch.zeros(draw(st.lists(st.integers(0, 3), max_size=3))).to(draw(dtypes))
        for name in draw(
            st.lists(st.sampled_from(["images", "labels", "a\n"]), unique=True)
        )
    }
    metadata = draw(
        st.dictionaries(st.sampled_from(["reads", "model", "classes", "picture"]), JSON)
    )
    path = Path(SCRATCH.name) / "whole"
    save_tensors(path, tensors, metadata)
    return path.read_bytes()


def ours(folder: Path, params: ModelParams) -> list[bytes]:
    """Return the bytes of a split, a model, and tensors of another program."""
    path = folder / "ours"
    classes = tuple(map(str, range(params.ydim)))
    split = Split(torch.zeros(3, 4, params.xdim).byte(), torch.arange(3), classes)
    save_split(split, path)
    files = [path.read_bytes()]
    save_model(LSTMClassifier(params), path, Reads(classes, "mnist", 4))
    return [*files, path.read_bytes(), safetensors.torch.save({"a": torch.zeros(2)})]


def error_of(load: Callable[[], object]) -> UserError | None:
    """Return how ``load`` refuses the file, if it does; check what it says."""
    refused = None
    try:
        load()
    except UserError as error:
        refused = error
    assert str(refused).isprintable()
    return refused


def main(n: int) -> None:
    """Feed each reader ``n`` files."""
    params = load_params().model.model_copy(update={"hdim": 2, "n_layer": 1})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        known = st.sampled_from(ours(Path(folder), params))

        def read(content: bytes) -> None:
            path.write_bytes(content)
            errors = [error for error in map(error_of, readers) if error]
            if len(errors) == len(readers):
                raise errors[0]

        readers = [
            lambda: load_tensors(path, writer="train"),
            lambda: load_split(path, params),
            lambda: load_model(path, params),
        ]
        feed(n, st.one_of(headers(), whole(), damaged(known)), read)


if __name__ == "__main__":
    main(int(sys.argv[1]))
