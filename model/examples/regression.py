"""Weights of co-clicked ads by ridge regression: how much each click of a user says for an ad beside the others.

A co-click weight looks at two ads alone. An ad that is linked to five editions of one book counts that link five times;
a regression on all five shares it out among them. Each ad is regressed on its own neighbours only, as in fsSLIM (Ning
and Karypis 2011), with a penalty on squares in the place of its constraints, as in EASE (Steck 2019).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged, expand_ranges

PENALTY = 200.0
"""Of squared weights, in clicks."""

LEAST = 1e-4
"""Least weight that is kept; those below 0 say that an ad is rarely clicked along with the others, and are left out."""

COMMON = 12_288
"""Most clicked keys whose co-clicks with each other the regressions know: 0.6 GB. Others count as unrelated to them."""

REGRESSED = 100_000
"""Most clicked keys that are regressed; others, whose clicks are few, are fitted by each neighbour alone."""

_BATCH = 256
_CELLS = 2**26
"""Most numbers in the systems of a batch: 0.27 GB."""

_BLOCK = 1024

_Matrix = Any
"""A `scipy.sparse.csr_matrix`; scipy has no types."""


def regressed(clicks: _Matrix, neighbours: Ragged, counts: NDArray[np.float32],
              most: int) -> tuple[Ragged, NDArray[np.float32]]:
    """The weights of a least-squares fit of each key's clicks by those of its neighbours, turned around.

    Args:
        clicks: (users, keys) with ones where a user clicked a key.
        neighbours: key -> the keys that it is regressed on.
        counts: (M,) users who clicked both, aligned with the values of `neighbours`.
        most: keys that a click on one may speak for.

    Returns:
        Key -> keys that a click on it speaks for, strongest first, and the (N,) float32 weights aligned with them.
    """
    n_keys = clicks.shape[1]
    popularity = np.asarray(clicks.sum(axis=0), np.float32).ravel()
    ranked = np.argsort(-popularity, kind="stable")
    weights = counts / (popularity[neighbours.values] + np.float32(PENALTY))
    place, gram = _gram(clicks, ranked[:COMMON])
    targets = ranked[:REGRESSED]
    targets = targets[neighbours.lengths[targets] > 1]
    size = max(1, min(_BATCH, _CELLS // int(neighbours.lengths.max(initial=1)) ** 2)) if len(targets) else _BATCH
    for start in range(0, len(targets), size):
        own = targets[start:start + size]
        lengths = neighbours.lengths[own]
        filled, at = np.arange(lengths.max()) < lengths[:, None], expand_ranges(neighbours.indptr[own], lengths)
        rows, wanted, squares = np.full(filled.shape, -1), *np.zeros((2, *filled.shape), np.float32)
        rows[filled], wanted[filled] = place[neighbours.values[at]], counts[at]
        squares[filled] = popularity[neighbours.values[at]]
        systems, diagonal = gram[rows[:, :, None], rows[:, None, :]], np.arange(filled.shape[1])
        systems[:, diagonal, diagonal] = squares + np.float32(PENALTY)
        weights[at] = np.linalg.solve(systems, wanted[:, :, None])[filled, 0]
    return _turned(neighbours, weights, n_keys, most)


def _gram(clicks: _Matrix, keys: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Users who clicked both of two keys, and where each key stands; the last row and column are zeros, of all others.

    Args:
        clicks: (users, keys).
        keys: (K,).

    Returns:
        (keys,) rows, -1 for others; (K + 1, K + 1).
    """
    place = np.full(clicks.shape[1], -1)
    place[keys] = np.arange(len(keys))
    own = clicks[:, keys]
    by_key, gram = own.T.tocsr(), np.zeros((len(keys) + 1, len(keys) + 1), np.float32)
    for first in range(0, len(keys), _BLOCK):
        block = by_key[first:first + _BLOCK] @ own
        gram[first:first + block.shape[0], :-1] = block.toarray()
    return place, gram


def _turned(neighbours: Ragged, weights: NDArray[np.float32], n_keys: int,
            most: int) -> tuple[Ragged, NDArray[np.float32]]:
    """From lists of what says something for a key to lists of what a key speaks for, strongest first."""
    keep = weights > LEAST
    keys = np.repeat(np.arange(n_keys), neighbours.lengths)[keep]
    sources, weights = neighbours.values[keep], weights[keep]
    order = np.lexsort((keys, -weights, sources))
    lengths = np.bincount(sources, minlength=n_keys)
    order = order[np.arange(len(order)) - np.repeat(np.cumsum(lengths) - lengths, lengths) < most]
    return Ragged.of_lengths(np.minimum(lengths, most), keys[order].astype(np.int32)), weights[order]
