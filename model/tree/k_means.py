"""Hierarchical k-means: the E-step of HILL's EM version (Section 3.5).

FAISS k-means on residuals under each parent, level by level. A node's virtual embedding is the mean of its members'
item embeddings, which equals the sum of the residual centroids on its path. A parent gets children in proportion to
its members, which keeps the leaves even; uneven leaves cost pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

from index_store.tree.tree import segment_means
from model.config.errors import ConfigError
from model.progress.bars import Bar
from model.progress.ranges import ranges_of

LEAF_ITEMS = 12

FIRST_LEVEL = 256
"""Most nodes of the coarsest level. A search scores all of them at once, which costs less than one more level above."""

MOST_BRANCHES = 32

POINTS = 256
"""Most vectors a node that its level's k-means learns from; the others are assigned afterwards."""


def default_branching(items: int) -> tuple[int, ...]:
    """Children of a node at each level above the items, so that leaves hold about LEAF_ITEMS items."""
    leaves = max(2, items // LEAF_ITEMS)
    if leaves <= FIRST_LEVEL:
        return (leaves,)
    below = leaves / FIRST_LEVEL
    levels = max(1, math.ceil(math.log(below) / math.log(MOST_BRANCHES)))
    return (FIRST_LEVEL, *[max(2, round(below ** (1 / levels)))] * levels)


def check_branching(branching: Sequence[int], items: int) -> None:
    """Raises ConfigError if the tree would have more leaves than items; one item has the smallest tree, of 2 leaves."""
    leaves = math.prod(branching)
    if leaves > max(2, items):
        raise ConfigError(f"branching {tuple(branching)} makes {leaves} leaves for {items} items; choose fewer, "
                          f"such as {default_branching(items)}")


def learn_codes(vectors: NDArray[np.floating], branching: Sequence[int], seed: int, *, shared: bool = False,
                start: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
    """The E-step: k-means on residuals, level by level.

    The first level reads the vectors a range at a time, the others those of one of its nodes. With shared codebooks all
    vectors are in memory.

    Args:
        vectors: (n_items, D) float16 or float32, may be memory-mapped.
        branching: children of a node at each level; a parent of m items gets m / n_items of the level's nodes.
        seed: of the k-means.
        shared: one codebook a level, the same under every parent, instead of one a parent.
        start: (n_items, levels) codes of an earlier tree, -1 for items that it lacked; each k-means starts from their
            means, so that a code keeps its number and an item keeps its code unless another one is nearer now.

    Returns:
        (n_items, levels) int32: the code of each item at each level, unique within its parent, or within its level.
    """
    n = len(vectors)
    before = np.full((n, len(branching)), -1, np.int32) if start is None else start
    codes = np.zeros((n, len(branching)), np.int32)
    if shared:
        _learn_below(np.array(vectors, np.float32), codes, before, branching, 0, seed, n, shared=True)
        return codes
    codes[:, 0] = _k_means(vectors, min(branching[0], n), before[:, 0], seed)
    top = _groups(codes[:, :1])
    for members in Bar(top, desc="k-means", unit="node", leave=False):
        residuals = np.asarray(vectors[members], np.float32)
        residuals = residuals - segment_means(residuals, np.array([0, len(members)]))
        own = codes[members]
        _learn_below(residuals, own, before[members], branching, 1, seed, n)
        codes[members] = own
    return codes


def _learn_below(residuals: NDArray[np.float32], codes: NDArray[np.int32], before: NDArray[np.int32],
                 branching: Sequence[int], first: int, seed: int, n: int, *, shared: bool = False) -> None:
    """Learns the levels from `first` on, of the items below one node of the level above it.

    Args:
        residuals: (m, D) of these items; overwritten.
        codes: (m, levels), known above `first`; the others are written.
        before: (m, levels) codes of an earlier tree.
        branching, seed, shared: as for `learn_codes`.
        n: items of the whole tree.
    """
    nodes, parents = math.prod(branching[:first]), [np.arange(len(residuals))]
    stayed = before[:, 0] >= 0
    if first:
        stayed &= before[:, 0] == codes[:, 0]
    for level in range(first, len(branching)):
        children = branching[level]
        nodes *= children
        of_level = np.where(stayed, before[:, level], -1)
        for members in parents:
            k = children if shared else max(1, round(nodes * len(members) / n))
            codes[members, level] = _k_means(residuals[members], min(k, len(members)), of_level[members], seed)
        prefixes = codes[:, level:level + 1] if shared else codes[:, :level + 1]
        residuals -= _means(residuals, prefixes)
        if not shared:
            parents, stayed = _groups(prefixes), stayed & (of_level == codes[:, level])


def _groups(keys: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """Rows of each distinct key (n, levels), in the order of the keys; one group where there are no levels."""
    if not keys.shape[1]:
        return [np.arange(len(keys))]
    order = np.lexsort(keys.T[::-1])
    changed = np.flatnonzero((keys[order[1:]] != keys[order[:-1]]).any(axis=1)) + 1
    return np.split(order, changed)


def _means(vectors: NDArray[np.float32], keys: NDArray[np.integer]) -> NDArray[np.float32]:
    """For each row the mean of the rows with the same key: (n, D)."""
    groups = _groups(keys)
    bounds = np.cumsum([0, *map(len, groups)])
    means = np.empty_like(vectors)
    means[np.concatenate(groups)] = np.repeat(segment_means(vectors[np.concatenate(groups)], bounds), np.diff(bounds),
                                              axis=0)
    return means


def _k_means(vectors: NDArray[np.floating], k: int, before: NDArray[np.integer], seed: int) -> NDArray[np.int64]:
    """Codes of vectors (m, D): k of them from 0, or at least the codes in `before` (m,), where -1 is none."""
    placed = before >= 0
    numbers, centroids = np.arange(k), None
    if placed.any():
        numbers, centroids = _warm_start(vectors, k, before, seed)
    elif k >= len(vectors):
        return np.arange(len(vectors))
    k = len(numbers)
    if k == 1:
        return np.full(len(vectors), numbers[0])
    means = faiss.Kmeans(vectors.shape[1], k, niter=20, seed=seed + 1, min_points_per_centroid=1,
                         max_points_per_centroid=POINTS,
                         init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS)
    means.train(_sample(vectors, POINTS * k, seed + 1), init_centroids=centroids)
    nearest = np.concatenate([means.index.search(np.ascontiguousarray(vectors[part.rows], np.float32), 1)[1][:, 0]
                              for part in ranges_of(len(vectors))])
    if placed.any():
        return np.asarray(numbers[nearest], np.int64)
    return np.unique(nearest, return_inverse=True)[1].astype(np.int64)


def _sample(vectors: NDArray[np.floating], most: int, seed: int) -> NDArray[np.float32]:
    """At most so many of the vectors (m, D): those that FAISS would take, which wants all of them in memory."""
    if len(vectors) <= most:
        return np.ascontiguousarray(vectors, np.float32)
    order = np.empty(len(vectors), np.int32)
    faiss.rand_perm(faiss.swig_ptr(order), len(order), seed)
    return np.ascontiguousarray(vectors[order[:most]], np.float32)


def _warm_start(vectors: NDArray[np.floating], k: int, before: NDArray[np.integer],
                seed: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Code numbers and their initial centroids: means of the earlier codes, then vectors without one, up to k."""
    numbers = np.unique(before[before >= 0])
    missing = max(0, k - len(numbers))
    added = np.random.default_rng(seed).permutation(np.flatnonzero(before < 0))[:missing]
    centroids = np.stack([*(vectors[before == number].mean(axis=0, dtype=np.float32) for number in numbers),
                          *vectors[added].astype(np.float32)])
    return np.concatenate([numbers, numbers[-1] + 1 + np.arange(len(added))]), centroids


def dense(codes: NDArray[np.int32], *, shared: bool = False) -> NDArray[np.int32]:
    """The same tree with codes renumbered from 0 without gaps within each parent, or within each level if shared."""
    renamed = np.empty_like(codes)
    for level in range(codes.shape[1]):
        for members in _groups(codes[:, :0 if shared else level]):
            renamed[members, level] = np.unique(codes[members, level], return_inverse=True)[1]
    return renamed
