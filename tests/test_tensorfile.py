import pickle
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch

from mnist_lstm.plumbing.errors import TensorFileError
from mnist_lstm.tensorfile import load_tensors, save_tensors

CONTENT = {"a": torch.arange(6).reshape(2, 3), "b": torch.tensor(1.5)}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.safetensors"
    save_tensors(path, CONTENT, {"history": [{"loss": 0.1}]})
    return path


def test_what_is_saved_comes_back(path):
    tensors, metadata = load_tensors(path, writer="train")
    assert metadata == {"history": [{"loss": 0.1}]}
    assert tensors.keys() == CONTENT.keys()
    for name, values in CONTENT.items():
        assert torch.equal(tensors[name], values)
        assert tensors[name].dtype == values.dtype


def test_any_reader_of_safetensors_opens_it(path):
    assert torch.equal(safetensors.torch.load_file(path)["a"], CONTENT["a"])


def test_every_save_writes_the_same_bytes_and_says_that_pytorch_did(path):
    """Readers such as transformers ask for `format`; safetensors shuffles several keys."""
    good = path.read_bytes()
    for _ in range(20):
        save_tensors(path, dict(reversed(CONTENT.items())), {"history": [{"loss": 0.1}]})
        assert path.read_bytes() == good
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata()["format"] == "pt"


def test_a_cut_and_a_flipped_bit_are_refused_by_name(path):
    good = path.read_bytes()
    length = 8 + int.from_bytes(good[:8], "little")
    damages = [good[:n] for n in (0, 7, length // 2, length, len(good) - 1)]
    for place in (0, 9, good.index(b"0.1"), good.index(b"sha256"), length, len(good) - 1):
        content = bytearray(good)
        content[place] ^= 1
        damages.append(content)
    for content in damages:
        path.write_bytes(content)
        with pytest.raises(TensorFileError) as caught:
            load_tensors(path, writer="train")
        (line,) = str(caught.value).splitlines()
        assert line.startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "damaged, or no safetensors file"),
        (b"<!doctype html>", "damaged, or no safetensors file"),
        (b"\xff" * 7 + b"\x7f", "damaged, or no safetensors file"),  # a header of exabytes
        (pickle.dumps(CONTENT), "damaged, or no safetensors file"),
        (
            safetensors.torch.save(CONTENT),
            "without the checksum that the stage `train` adds",
        ),
        (safetensors.torch.save(CONTENT, {"metadata": "[]"}), "without the checksum"),
        (safetensors.torch.save(CONTENT, {"metadata": "{"}), "without the checksum"),
    ],
)
def test_a_foreign_file_is_refused_by_name(path, content, found):
    path.write_bytes(content)
    with pytest.raises(TensorFileError, match=found) as caught:
        load_tensors(path, writer="train")
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("shape", [(), (2, 0, 3), (2, 3)])
@pytest.mark.parametrize("dtype", ["bool", "int8", "bfloat16", "complex64"])
def test_tensors_of_every_type_come_back(path, dtype, shape):
    values = torch.zeros(shape).to(getattr(torch, dtype))
    save_tensors(path, {"a": values}, {})
    tensors, _ = load_tensors(path, writer="train")
    assert (tensors["a"].dtype, tensors["a"].shape) == (values.dtype, values.shape)
    assert path.read_bytes()


def test_what_was_read_stays_whatever_becomes_of_the_file(path):
    """A mapped file would change with it, or end the process once it is cut short."""
    tensors, _ = load_tensors(path, writer="train")
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
        file.truncate(1)
    assert torch.equal(tensors["a"], CONTENT["a"])


def test_nothing_in_the_project_unpickles():
    pattern = r"pickle|(?<!safetensors\.)torch\.(load|save)\b|np\.load|joblib|shelve"
    for folder in ("src", "stages"):
        for file in Path(folder).rglob("*.py"):
            assert not re.search(pattern, file.read_text()), file
