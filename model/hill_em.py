"""HILL, EM version (Section 3.5): the E-step learns the tree by k-means, the M-step trains MoNN at fixed codes.

The E-step clusters per parent with FAISS k-means on residuals, level by level; a node's virtual embedding is the mean
of its members' item embeddings, which is what the sum of residual centroids along its path amounts to. A parent gets
children in proportion to its members, so that the leaves come out even: uneven leaves cost pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from index_store.postings import ItemKeys, KeyIndex, key_postings
from index_store.ragged import Ragged
from index_store.tree import Tree, segment_means
from model.config import ConfigError

LEAF_ITEMS = 12
FIRST_LEVEL = 256
"""Most nodes of the coarsest level. A search scores all of them at once, which costs less than one more level above."""

MOST_BRANCHES = 32


def default_branching(items: int) -> tuple[int, ...]:
    """Children of a node at each level above the items, so that leaves hold about LEAF_ITEMS items."""
    leaves = max(2, items // LEAF_ITEMS)
    if leaves <= FIRST_LEVEL:
        return (leaves,)
    below = leaves / FIRST_LEVEL
    levels = max(1, math.ceil(math.log(below) / math.log(MOST_BRANCHES)))
    return (FIRST_LEVEL, *[max(2, round(below ** (1 / levels)))] * levels)


def check_branching(branching: Sequence[int], items: int) -> None:
    """Raises ConfigError if the tree would have more leaves than items."""
    leaves = math.prod(branching)
    if leaves > items:
        raise ConfigError(f"branching {tuple(branching)} makes {leaves} leaves for {items} items; choose fewer, "
                          f"such as {default_branching(items)}")


def learn_codes(vectors: NDArray[np.float32], branching: Sequence[int], seed: int) -> NDArray[np.int32]:
    """The E-step: hierarchical k-means on residuals.

    Args:
        vectors: (n_items, D) float32.
        branching: children of a node at each level; a parent of m items gets m / n_items of the level's nodes.
        seed: of the k-means.

    Returns:
        (n_items, levels) int32: the code of each item at each level, unique within its parent.
    """
    n = len(vectors)
    codes = np.zeros((n, len(branching)), np.int32)
    residuals = np.ascontiguousarray(vectors, np.float32).copy()
    parents = [np.arange(n)]
    nodes = 1
    for level, children in enumerate(branching):
        nodes *= children
        members_of_children: list[NDArray[np.int64]] = []
        for members in parents:
            k = min(len(members), max(1, round(nodes * len(members) / n)))
            assigned = _k_means(residuals[members], k, seed)
            codes[members, level] = assigned
            order = np.argsort(assigned, kind="stable")
            bounds = np.flatnonzero(np.diff(assigned[order], prepend=-1))
            means = segment_means(residuals[members[order]], np.append(bounds, len(members)))
            _, dense = np.unique(assigned, return_inverse=True)
            residuals[members] -= means[dense]
            members_of_children += np.split(members[order], bounds[1:])
        parents = members_of_children
    return codes


def _k_means(vectors: NDArray[np.float32], k: int, seed: int) -> NDArray[np.int64]:
    if k <= 1:
        return np.zeros(len(vectors), np.int64)
    if k >= len(vectors):
        return np.arange(len(vectors))
    means = faiss.Kmeans(vectors.shape[1], k, niter=20, seed=seed + 1, min_points_per_centroid=1,
                         max_points_per_centroid=256,
                         init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS)
    means.train(vectors)
    _, nearest = means.index.search(vectors, 1)
    return np.asarray(nearest[:, 0], np.int64)


@dataclass(frozen=True)
class LevelHealth:
    """Balance of the hard assignment of one level.

    Attributes:
        entropy: of the items over the nodes, divided by that of an even assignment; 1 is perfectly even.
        largest: members of the largest node over the mean.
        empty: codes of the level that hold no item.
    """

    level: int
    nodes: int
    entropy: float
    largest: float
    empty: int


def health(tree: Tree, branching: Sequence[int]) -> list[LevelHealth]:
    """Hard-assignment health of every level above the items."""
    report, planned = [], 1
    for level, children in enumerate(branching, start=1):
        planned *= children
        members = np.diff(tree.offsets[level - 1]).astype(np.float64)
        share = members / members.sum()
        entropy = -(share * np.log(share)).sum() / math.log(len(share)) if len(share) > 1 else 1.0
        report.append(LevelHealth(level, len(members), float(entropy), float(members.max() / members.mean()),
                                  max(0, planned - len(members))))
    return report


def health_table(report: Sequence[LevelHealth]) -> str:
    """The report as lines of text."""
    lines = ["level    nodes  usage entropy  largest/mean  empty"]
    lines += [f"{r.level:5d} {r.nodes:8d} {r.entropy:14.4f} {r.largest:13.2f} {r.empty:6d}" for r in report]
    return "\n".join(lines)


def level_postings(tree: Tree, index: KeyIndex, keys_of_row: ItemKeys, level: int,
                   node_features: Literal["maximum", "representative"]) -> Ragged:
    """Key -> nodes of a level above the items.

    Args:
        keys_of_row: the keys of each item row.
        node_features: whether a node holds the keys of all its members, or of its representative item alone.
    """
    if node_features == "maximum":
        return key_postings(keys_of_row, index, tree.node_of_position(level)[tree.position_of_row])
    chosen = tree.rows[tree.representatives[level - 1]]
    return key_postings(keys_of_row.take(chosen), index, np.arange(len(chosen)))


def node_means(tree: Tree, item_vectors: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Mean of the members of every node: item vectors (n_items, D) by row -> one (nodes, D) a level above the items."""
    ordered: NDArray[Any] = item_vectors[tree.rows]
    return [segment_means(ordered, offsets) for offsets in tree.offsets]
