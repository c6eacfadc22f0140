"""Repair of a tree whose leaf nodes have become uneven: those that outgrow a bound are halved until none does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BOUND = 4.0
"""Largest members of a leaf node, relative to the mean."""


def split_outgrown(vectors: NDArray[np.floating], codes: NDArray[np.int32],
                   bound: float = BOUND) -> NDArray[np.int32]:
    """Halves every leaf node that has more than `bound` times as many members as the mean.

    A node is cut at the median of its members along the direction in which they differ most. The half nearer to the
    old mean keeps the number; the other one gets the lowest number that is free below its parent.

    Args:
        vectors: (n_items, D) float16 or float32 that the tree clusters.
        codes: (n_items, levels), unique within their parent.
        bound: above 1.

    Returns:
        (n_items, levels) int32.
    """
    found = codes.copy()
    while True:
        _, node, members = np.unique(found, axis=0, return_inverse=True, return_counts=True)
        large = np.flatnonzero(members > max(1.0, bound * members.mean()))
        if not len(large):
            return found
        for leaf in large:
            rows = np.flatnonzero(node == leaf)
            siblings = (found[:, :-1] == found[rows[0], :-1]).all(axis=1)
            number = np.setdiff1d(np.arange(siblings.sum() + 1), found[siblings, -1])[0]
            found[rows[_farther_half(vectors[rows].astype(np.float32))], -1] = number


def _farther_half(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices of half of some vectors (m, D), on one side of the median along their first principal direction."""
    centred = vectors - vectors.mean(axis=0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    order = np.argsort(along, kind="stable")
    low, high = order[:len(order) // 2], order[len(order) // 2:]
    return low if abs(along[low].mean()) > abs(along[high].mean()) else high
