"""The leaf nodes of a tree whose vectors are nearest to a vector, found by a walk down the tree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from index_store.tree.tree import Tree, segment_means

KEPT = 64
"""Nodes of a level whose children are compared; docs/experiments.md says what the walk saves."""


class NearestLeaves:
    """Finds leaf nodes, those right above the items.

    Args:
        tree: of two levels or more.
        vectors: (leaves, D) float32, one for each leaf node; a node above has the mean of those below it.
    """

    def __init__(self, tree: Tree, vectors: NDArray[np.float32]) -> None:
        self._tree = tree
        self._vectors = [segment_means(vectors, np.searchsorted(tree.offsets[-1], offsets)) for offsets in tree.offsets]
        self._lengths = [(of_level * of_level).sum(axis=1) for of_level in self._vectors]

    def find(self, vector: NDArray[np.float32], most: int) -> NDArray[np.int32]:
        """The leaf nodes nearest to a vector (D,) by Euclidean distance, the nearest first: (most,) int32, or all."""
        nodes, last = np.arange(self._tree.size(1)), len(self._vectors)
        for level, (vectors, lengths) in enumerate(zip(self._vectors, self._lengths, strict=True), start=1):
            distance = lengths.take(nodes) - 2 * vectors.take(nodes, axis=0) @ vector
            wanted = KEPT if level < last else most
            if len(nodes) > wanted:
                nearest = np.argpartition(distance, wanted - 1)[:wanted]
                nodes, distance = nodes[nearest], distance[nearest]
            if level < last:
                nodes = self._tree.children(level, nodes)
        return nodes[np.argsort(distance)].astype(np.int32)
