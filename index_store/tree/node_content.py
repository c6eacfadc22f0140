"""Node content: the keys and the mean embedding of the items below each node."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index_store.features.postings import ItemKeys, KeyIndex, key_postings
from index_store.features.ragged import Ragged
from index_store.features.spectral_vectors import SpectralVectors
from index_store.tree.tree import Tree, Vectors, node_blocks, segment_means


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


def node_means(tree: Tree, item_vectors: Vectors) -> list[NDArray[np.float32]]:
    """Mean over the members of every node: (n_items, D) by item row -> one (nodes, D) per level above the items."""
    parts: list[list[NDArray[np.float32]]] = [[] for _ in tree.offsets]
    for _, rows, levels in node_blocks(tree.rows, tree.offsets):
        vectors = item_vectors[rows]
        for own, (_, bounds) in zip(parts, levels, strict=True):
            own.append(segment_means(vectors, bounds))
    return [np.concatenate(own) for own in parts]
