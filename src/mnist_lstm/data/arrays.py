"""Arrays of NumPy's files as float32: what they hold, what is missing, what is refused.

Messages leave the name of the file to the caller.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnist_lstm.plumbing.errors import UserError, one_line

COARSE = "numbers so large that float32 blurs them, as of the time since 1970, are read"


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
    """Return ``values`` of any real type in float32.

    Raises:
        UserError: other types, no values, or one that is infinite.
    """
    if values.dtype.kind not in "fiub":
        raise UserError(f"{name or 'values'} of type {values.dtype}, expected numbers")
    if not values.size:
        raise UserError(f"{name or 'an array'} {list(values.shape)}, without values")
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32, copy=False)
    infinite = np.isinf(numbers)
    if infinite.any():
        at = np.unravel_index(infinite.argmax(), values.shape)
        place = f"{name}[{', '.join(map(str, at))}]"
        raise UserError(f"{place} is {values[at]}: no float32")
    return numbers


def blurs(values: np.ndarray) -> bool:
    """Say whether a column of ``values`` [L x Q] loses its detail in float32."""
    if values.dtype.kind == "f" and values.dtype.itemsize <= 4:
        return False
    with np.errstate(all="ignore"):
        exact = values.astype(np.float64)
        loss = np.abs(exact - exact.astype(np.float32)).max(0)
        spread = np.ptp(exact, axis=0)
    return bool(((loss > 1e-3 * spread) & (spread > 0)).any())


def missing_in(values: np.ndarray, names: Sequence[str] = ()) -> str:
    """Say how many of ``values`` [L x Q], whose columns have ``names``, are missing."""
    gaps = np.argwhere(np.isnan(values))
    if not len(gaps):
        return ""
    step, column = gaps[0].tolist()
    named = f" ({names[column]})" if names else ""
    count = f"{len(gaps):,} missing value" + "s" * (len(gaps) > 1)
    return f"{count}, the first in step {step + 1}, column {column + 1}{named}"
