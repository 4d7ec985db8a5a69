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


def test_any_cut_and_any_flipped_bit_is_refused_by_name(path):
    good = path.read_bytes()
    damages = [good[:n] for n in range(len(good))]
    for i in range(8 * len(good)):
        content = bytearray(good)
        content[i // 8] ^= 1 << i % 8
        damages.append(content)
    for content in damages:
        path.write_bytes(content)
        with pytest.raises(TensorFileError) as caught:
            load_tensors(path, writer="train")
        (line,) = str(caught.value).splitlines()
        assert line.startswith(f"{path}: ")


def test_a_folder_in_its_place_is_refused_by_name(tmp_path):
    with pytest.raises(TensorFileError) as caught:
        load_tensors(tmp_path, writer="train")
    assert str(caught.value).startswith(f"{tmp_path}: ")


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


def test_nothing_in_the_project_unpickles():
    pattern = r"pickle|(?<!safetensors\.)torch\.(load|save)\b|np\.load|joblib|shelve"
    for folder in ("src", "stages"):
        for file in Path(folder).rglob("*.py"):
            assert not re.search(pattern, file.read_text()), file
