"""Co-click tables: which keys the same users clicked, and how strongly two keys are linked.

Training reads tables that were counted over the users of other folds, so that no example sees its own click; the bundle
holds the table over all users.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from index_store.features.encoder import UNKNOWN
from index_store.features.ragged import Ragged
from model.examples.regression import regressed

SHRINKAGE = 2.0
"""Added to the denominator, so that one chance co-click of two rare ads does not count as a certainty."""

_BLOCK_PAIRS = 20_000_000

_Matrix = Any
"""A `scipy.sparse.csr_matrix`; scipy has no types."""


def co_click(histories: Ragged, item_keys: Ragged, n_keys: int, neighbours: int, *,
             by_regression: bool = False) -> tuple[Ragged, NDArray[np.float32]]:
    """The strongest neighbours of every key.

    The weight of keys a != b is c_ab / (sqrt(c_a c_b) + SHRINKAGE), where c counts users who clicked the key, or both.
    For fields other than the item's id a key is also its own neighbour, with c_aa = users who clicked two such items.

    Args:
        histories: clicked item rows of each user.
        item_keys: item row -> keys of the family's field.
        n_keys: number of keys.
        neighbours: most neighbours to keep a key.
        by_regression: whether each key is regressed on these neighbours; the lists are those of `regressed` then, with
            up to twice as many keys.

    Returns:
        Key -> neighbour keys, and the (M,) float32 weights aligned with their values.
    """
    clicks, repeated = _user_by_key(histories, item_keys, n_keys)
    popularity = np.asarray(clicks.sum(axis=0)).ravel()
    lists: list[NDArray[np.int32]] = []
    weights: list[NDArray[np.float32]] = []
    counts: list[NDArray[np.float32]] = []
    lengths = np.zeros(n_keys, np.int64)
    for a, b, count in _co_counts(clicks, repeated):
        weight = (count / (np.sqrt(popularity[a] * popularity[b]) + SHRINKAGE)).astype(np.float32)
        strong = _strongest(a, weight, neighbours)
        a, b, weight, count = a[strong], b[strong], weight[strong], count[strong]
        order = np.lexsort((b, -weight, a))
        starts, sizes = _groups(a)
        kept = order[np.arange(len(a)) - np.repeat(starts, sizes) < neighbours]
        lengths += np.bincount(a[kept], minlength=n_keys)
        lists.append(b[kept].astype(np.int32))
        weights.append(weight[kept])
        counts.append(count[kept].astype(np.float32))
    found = Ragged.of_lengths(lengths, np.concatenate(lists))
    if by_regression:
        return regressed(clicks, found, np.concatenate(counts), 2 * neighbours)
    return found, np.concatenate(weights)


def _strongest(a: NDArray[np.integer], weight: NDArray[np.float32], neighbours: int) -> NDArray[np.bool_]:
    """(N,) whether a pair is among the `neighbours` of largest weight of its key, or ties with the last of them.

    Sorting one integer a pair takes a fraction of the time of a sort by three keys, which few pairs are left for.

    Args:
        a: (N,) key of each pair, ascending.
        weight: (N,) positive, whose bits have their order.
        neighbours: of a key.
    """
    ranked = a.astype(np.uint64) << np.uint64(32) | ~weight.view(np.uint32)
    starts, lengths = _groups(a)
    last = np.sort(ranked)[starts + np.minimum(lengths, neighbours) - 1]
    return ranked <= np.repeat(last, lengths)


def _groups(a: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each run of equal values of `a` (N,) starts, and its length."""
    starts = np.flatnonzero(np.diff(a, prepend=-1))
    return starts, np.diff(np.append(starts, len(a)))


def _user_by_key(histories: Ragged, item_keys: Ragged, n_keys: int) -> tuple[_Matrix, NDArray[np.float32]]:
    """A matrix (users, keys) with ones where a user clicked a key; and for each key the users who clicked it twice."""
    of_items = item_keys.take(histories.values)
    owner = np.repeat(np.repeat(np.arange(len(histories)), histories.lengths), of_items.lengths)
    has_value = of_items.values != UNKNOWN
    clicks = sparse.csr_matrix((np.ones(has_value.sum(), np.float32), (owner[has_value], of_items.values[has_value])),
                               shape=(len(histories), n_keys))
    clicks.sum_duplicates()
    repeated = np.asarray((clicks >= 2).sum(axis=0)).ravel().astype(np.float32)
    clicks.data[:] = 1.0
    return clicks, repeated


def _co_counts(clicks: _Matrix, repeated: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.integer], ...]]:
    """Pairs of keys and how many users clicked both: (a, b, count), in blocks of ascending a, to bound memory."""
    n_keys, by_key = clicks.shape[1], clicks.T.tocsr()
    pairs_of_key = np.asarray(by_key @ np.diff(clicks.indptr)).ravel()
    start = 0
    while start < n_keys:
        within = np.searchsorted(np.cumsum(pairs_of_key[start:]), _BLOCK_PAIRS)
        stop = min(n_keys, start + max(1, int(within)))
        block = (by_key[start:stop] @ clicks).tocoo()
        a, b = block.row + start, block.col
        count = np.where(a == b, repeated[a], block.data)
        keep = count > 0
        yield a[keep], b[keep], count[keep]
        start = stop
