"""Arrays of NumPy's files as float32: what they hold, what is missing, what is refused.

Messages leave the name of the file to the caller.
"""

from pathlib import Path

import numpy as np

from mnist_lstm.plumbing.errors import UserError, one_line

COARSE = "numbers so large that float32 blurs them, as of the time since 1970, are read"
_CHUNK = 4096  # examples; or there would be three copies of all


def load(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Return the array of a ``.npy``, or those of a ``.npz`` by name.

    Raises:
        UserError: no such file, damaged, or with Python objects in it.
    """
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            return {name: found[name] for name in found.files}
    except MemoryError:
        raise
    except Exception as error:  # of any type, for a damaged file
        if "Object arrays" in str(error):
            what = "Python objects in it; save arrays of numbers and of text"
            raise UserError(what) from None
        if "allow_pickle" in str(error):
            raise UserError("no file of NumPy's") from None
        reason = getattr(error, "strerror", None) or one_line(str(error) or repr(error))
        raise UserError(f"cannot be read: {reason}") from None


def to_float32(values: np.ndarray, name: str = "") -> np.ndarray:
    """Return ``values`` [N x ...] of any real type in float32.

    Raises:
        UserError: other types, no values, or one that is infinite.
    """
    if values.dtype.kind not in "fiub":
        raise UserError(f"{name or 'values'} of type {values.dtype}, expected numbers")
    if not values.size:
        raise UserError(f"{name or 'an array'} {list(values.shape)}, without values")
    is_single = values.dtype == np.float32
    numbers = values if is_single else np.empty(values.shape, np.float32)
    for i in range(0, len(values), _CHUNK):
        part = numbers[i : i + _CHUNK]
        if not is_single:
            with np.errstate(over="ignore"):
                part[:] = values[i : i + _CHUNK]
        if np.isinf(part).any():
            at = np.argwhere(np.isinf(part))[0] + [i, *[0] * (values.ndim - 1)]
            value = values[tuple(at)]
            raise UserError(f"{name}[{', '.join(map(str, at))}] is {value}: no float32")
    return numbers


def blurs(values: np.ndarray, numbers: np.ndarray) -> bool:
    """Say whether a column of ``values`` [... x Q] loses its detail in ``numbers``."""
    if values.dtype.kind == "f" and values.dtype.itemsize <= 4:
        return False
    flat, single = (x.reshape(-1, values.shape[-1])[:_CHUNK] for x in (values, numbers))
    flat = flat.astype(np.float64)
    with np.errstate(invalid="ignore"):
        loss, spread = np.abs(flat - single).max(0), np.ptp(flat, axis=0)
    return bool(((loss > 1e-3 * spread) & (spread > 0)).any())


def missing_in(numbers: np.ndarray, name: str = "") -> str:
    """Say how many of ``numbers`` are missing, and where the first is as Python counts."""
    gaps = np.isnan(numbers)
    if not gaps.any():
        return ""
    at = np.unravel_index(gaps.argmax(), gaps.shape)
    return f"{counted(int(gaps.sum()))}, the first at {name}[{', '.join(map(str, at))}]"


def counted(n: int) -> str:
    """Say that ``n`` values are missing."""
    return f"{n:,} missing value" + "s" * (n > 1)
