"""Tensors in files: safetensors, which hold no code, with a checksum of their content.

Format: https://github.com/huggingface/safetensors. Any reader of it opens these files.
"""

import hashlib
import json
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mnist_lstm.plumbing.errors import TensorFileError
from mnist_lstm.plumbing.files import write_bytes

# No safetensors, metadata that are not ours, types of tensors that PyTorch has not.
_FOREIGN = (
    *(safetensors.SafetensorError, LookupError, AttributeError),
    *(TypeError, ValueError, RuntimeError),
)


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict) -> None:
    """Write ``tensors`` and what JSON can say about them, ``metadata``, to ``path``."""
    tensors = {name: values.cpu().contiguous() for name, values in tensors.items()}
    about = json.dumps(metadata | {"sha256": _checksum(tensors, metadata)}, sort_keys=True)
    content = safetensors.torch.save(tensors)
    header, end = _header(content)
    # Here and sorted: safetensors would write several keys in an order of chance. The
    # first is Hugging Face's, for tensors of PyTorch.
    header["__metadata__"] = {"format": "pt", "metadata": about}
    start = json.dumps(header, sort_keys=True).encode()
    start += b" " * (-len(start) % 8)  # the tensors begin at a multiple of 8 bytes
    write_bytes(path, len(start).to_bytes(8, "little") + start + content[end:])


def load_tensors(path: Path, writer: str) -> tuple[dict[str, Tensor], dict]:
    """Read what :func:`save_tensors` wrote in the stage ``writer``, onto the CPU.

    Raises:
        TensorFileError: no such file, no safetensors, or bytes that changed since.
    """
    if not path.exists():
        raise TensorFileError(f"{path}: no such file; the stage `{writer}` writes it")
    content = path.read_bytes()  # not mapped: another may cut the file later on
    try:
        tensors = safetensors.torch.load(content)
        metadata = json.loads(_header(content)[0]["__metadata__"]["metadata"])
        changed = metadata.pop("sha256") != _checksum(tensors, metadata)
    except _FOREIGN:
        raise TensorFileError(
            f"{path}: damaged, or not a file of the stage `{writer}`"
        ) from None
    if changed:
        raise TensorFileError(f"{path}: damaged: it does not match its own checksum")
    return tensors, metadata


def _header(content: bytes) -> tuple[dict, int]:
    """Return the header of a valid file, and where the tensors begin."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), end


def _checksum(tensors: dict[str, Tensor], metadata: dict) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, values in sorted(tensors.items()):
        digest.update(f"{name} {values.dtype} {list(values.shape)}".encode())
        # As bytes: NumPy does not know every type, bfloat16 for one.
        digest.update(values.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
