"""Tensors in files: safetensors, which hold no code, with a checksum of their content.

Format: https://github.com/huggingface/safetensors. Any reader of it opens these files.
"""

import hashlib
import json
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from mnist_lstm import files
from mnist_lstm.errors import UserError


class TensorFileError(UserError):
    """A file of tensors that is missing or damaged; the message names it."""


def save(path: Path, tensors: dict[str, Tensor], about: dict) -> None:
    """Write ``tensors`` and what JSON can say ``about`` them to ``path``."""
    tensors = {name: values.cpu().contiguous() for name, values in tensors.items()}
    # One key: safetensors does not promise an order among several.
    metadata = {"about": json.dumps(about | {"sha256": _checksum(tensors, about)})}
    files.write_bytes(path, safetensors.torch.save(tensors, metadata))


def load(path: Path, writer: str) -> tuple[dict[str, Tensor], dict]:
    """Read the tensors in ``path``, onto the CPU, and what was said about them.

    Args:
        path: a file that :func:`save` wrote.
        writer: the stage that writes it, for the one who misses it.

    Raises:
        TensorFileError: no such file, no safetensors, or bytes that changed since.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = json.loads((file.metadata() or {})["about"])
            promised = about.pop("sha256")
    except FileNotFoundError:
        raise TensorFileError(
            f"{path}: no such file; the stage `{writer}` writes it"
        ) from None
    except (safetensors.SafetensorError, OSError) as error:
        raise TensorFileError(f"{path}: damaged, or no safetensors file: {error}") from None
    except (KeyError, AttributeError, TypeError, ValueError):
        raise TensorFileError(
            f"{path}: safetensors without the checksum that the stage `{writer}` adds"
        ) from None
    if _checksum(tensors, about) != promised:
        raise TensorFileError(f"{path}: damaged: it does not match its own checksum")
    return tensors, about


def _checksum(tensors: dict[str, Tensor], about: dict) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, values in sorted(tensors.items()):
        digest.update(f"{name} {values.dtype} {list(values.shape)}".encode())
        digest.update(values.numpy())
    return digest.hexdigest()
