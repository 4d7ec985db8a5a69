import pickle
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch

from mnist_lstm.plumbing.errors import TensorFileError
from mnist_lstm.tensorfile import load_tensors, save_tensors

CONTENT = {
    "a": torch.arange(6).reshape(2, 3),
    "b": torch.tensor(1.5),
    "c": torch.zeros(2, 0, 3, dtype=torch.bool),
    "d": torch.ones(4, dtype=torch.bfloat16),
}
ABOUT = {"history": [{"loss": 0.1}]}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.safetensors"
    save_tensors(path, CONTENT, ABOUT)
    return path


def test_what_is_saved_comes_back_whatever_becomes_of_the_file(path):
    """A mapped file would change with it, or end the process once it is cut short."""
    tensors, metadata = load_tensors(path, writer="train")
    path.write_bytes(b"\xff")
    assert metadata == ABOUT
    assert tensors.keys() == CONTENT.keys()
    for name, values in CONTENT.items():
        assert torch.equal(tensors[name], values)
        assert tensors[name].dtype == values.dtype


def test_every_save_writes_the_same_bytes_and_any_reader_opens_them(path):
    """Readers such as transformers ask for `format`; safetensors shuffles several keys."""
    good = path.read_bytes()
    save_tensors(path, dict(reversed(CONTENT.items())), ABOUT)
    assert path.read_bytes() == good
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata()["format"] == "pt"
        assert torch.equal(file.get_tensor("a"), CONTENT["a"])


def test_what_is_cut_flipped_or_foreign_is_refused_by_name(path):
    good = path.read_bytes()
    length = 8 + int.from_bytes(good[:8], "little")
    damages = [good[:n] for n in (0, length // 2, length, len(good) - 1)]
    for place in (0, 9, good.index(b"0.1"), len(good) - 1):
        content = bytearray(good)
        content[place] ^= 1
        damages.append(content)
    damages += [b"<!doctype html>", pickle.dumps(ABOUT), safetensors.torch.save(CONTENT)]
    for content in damages:
        path.write_bytes(content)
        with pytest.raises(TensorFileError, match="safetensors: damaged"):
            load_tensors(path, writer="train")


def test_nothing_in_the_project_unpickles():
    safe = r"np\.load\(\w+, allow_pickle=False\)|\"allow_pickle\""  # and its error
    pattern = r"pickle|(?<!safetensors\.)torch\.(load|save)\b|np\.load|joblib|shelve"
    for folder in ("src", "stages"):
        for file in Path(folder).rglob("*.py"):
            assert not re.search(pattern, re.sub(safe, "", file.read_text())), file
