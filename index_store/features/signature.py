"""Signatures: what values items hold in a field, as vectors whose inner products tell how many they share.

Each value has a random direction, and directions are nearly orthogonal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged

WIDTH = 32


def directions(values: int, random: np.random.Generator) -> NDArray[np.float32]:
    """A direction for each of a number of values: (values, WIDTH) float32."""
    return random.normal(size=(values, WIDTH)).astype(np.float32)


def signatures(values: Ragged, of_value: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sum of the directions of each item's values, at unit length, zero without values: (N, WIDTH) float32.

    Args:
        values: of N items.
        of_value: (V, WIDTH) direction of each value.
    """
    sums = np.zeros((len(values), WIDTH), np.float32)
    filled = np.flatnonzero(values.lengths)
    if len(filled):
        sums[filled] = np.add.reduceat(of_value[values.values], values.indptr[filled], axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    unit: NDArray[np.float32] = sums / np.maximum(lengths, np.float32(1e-12))
    return unit
