"""Single values as the model reads them: dense ones standardised, keys by their place in a sorted vocabulary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def standardised(values: NDArray[np.floating] | float, scale: tuple[float, float]) -> NDArray[np.float32]:
    """Standardises raw values of a dense field, as towers and predicates read them: float32, of the same shape.

    Values are first rounded to 32 bits, as tables hold them, so that a number has one encoding wherever it comes from.
    The encoding is monotonic.

    Args:
        values: finite numbers that fit into 32 bits.
        scale: mean and standard deviation.
    """
    mean, deviation = scale
    raw = np.asarray(values, np.float32).astype(np.float64)
    return np.clip((raw - mean) / deviation, -1e6, 1e6).astype(np.float32)


def look_up(sorted_keys: NDArray[np.bytes_], keys: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Index of each key in a sorted array of unique keys, -1 if it is absent. Shapes: (V,), (N,) -> (N,)."""
    if not len(sorted_keys):
        return np.full(len(keys), -1, np.int64)
    # Given arrays of different widths, numpy would first copy the whole vocabulary to the wider one, in each request.
    # A key cut to the vocabulary's width can only meet an entry that the full comparison then tells apart.
    at = np.minimum(np.searchsorted(sorted_keys, keys.astype(sorted_keys.dtype)), len(sorted_keys) - 1)
    return np.where(sorted_keys[at] == keys, at, -1).astype(np.int64)


def look_up_one(sorted_keys: NDArray[np.bytes_], key: bytes) -> int:
    """`look_up` of a single key, three times as fast: a request looks up one value for each field."""
    at = int(sorted_keys.searchsorted(key[: sorted_keys.dtype.itemsize]))
    return at if at < len(sorted_keys) and sorted_keys[at] == key else -1
