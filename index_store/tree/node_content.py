"""Node content: the keys and the mean embedding of the items below each node."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index_store.features.postings import ItemKeys, KeyIndex, key_postings
from index_store.features.ragged import Ragged
from index_store.features.spectral_vectors import SpectralVectors
from index_store.tree.tree import Tree, node_blocks, segment_means


def level_postings(tree: Tree, index: KeyIndex, keys_of_row: ItemKeys, level: int,
                   node_features: Literal["maximum", "representative"]) -> Ragged:
    """Postings of a level above the items: key -> nodes.

    Args:
        keys_of_row: the keys of each item row.
        node_features: whether a node holds the keys of all its members, or those of its representative alone.
    """
    if node_features == "maximum":
        return key_postings(keys_of_row, index, tree.node_of_position(level)[tree.position_of_row])
    chosen = tree.rows[tree.representatives[level - 1]]
    return key_postings(keys_of_row.take(chosen), index, np.arange(len(chosen)))


def level_vectors(tree: Tree, items: SpectralVectors, level: int) -> SpectralVectors:
    """Spectral vectors of the nodes of a level above the items: the means of their members, given by item row."""
    return items.means(tree.rows, tree.offsets[level - 1][:-1])


def node_means(tree: Tree, item_vectors: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Mean over the members of every node: (n_items, D) by item row -> one (nodes, D) per level above the items."""
    return [np.concatenate([_means_of(item_vectors, tree.rows, offsets[nodes.start:nodes.stop + 1])
                            for nodes in node_blocks(offsets)]) for offsets in tree.offsets]


def _means_of(item_vectors: NDArray[np.float32], rows: NDArray[np.int32],
              bounds: NDArray[np.int32]) -> NDArray[np.float32]:
    """Means of the members of consecutive nodes with bounds (N + 1,): (N, D)."""
    return segment_means(item_vectors[rows[bounds[0]:bounds[-1]]], bounds - bounds[0])
