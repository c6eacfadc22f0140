"""Placement: chooses the leaf nodes that a new ad is listed under, by what the tree was built on.

The tree joins ads that the same users score highly, and that hold the same values (`model.tree.profiles`). So a new ad
is scored for a sample of users, as some members of each leaf were, and goes to the leaves whose members these users
rank as they rank the ad, and which hold the values that the ad holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.spec import ITEM_ID
from index_store.features.interaction import item_features
from index_store.features.postings import ItemKeys, KeyIndex
from index_store.features.ragged import Ragged
from index_store.features.signature import directions, signatures
from index_store.live.nearest_leaves import NearestLeaves
from index_store.search.ranking import BLOCK
from index_store.search.scoring import AddedItems, TowerScorer, UserQuery

LEAVES = 16
"""Leaf nodes that an ad is listed under; docs/experiments.md says what fewer and more of them find."""

MEMBERS = 2
"""Members of a leaf whose profiles make up that of the leaf, evenly spaced."""

TOP = 100
"""Members that a user ranks highest in which the weight of a field's values is counted."""

_BLOCK = 4096


class Placement:
    """Places items into the tree of a scorer.

    Args:
        scorer: of a bundle.
        index: key families of the bundle.
        queries: of the sample of users.
    """

    def __init__(self, scorer: TowerScorer, index: KeyIndex, queries: Sequence[UserQuery]) -> None:
        self._scorer, self._index, self._queries, tree = scorer, index, queries, scorer.tree
        self._n_leaves = tree.size(tree.depth - 1) if tree.depth > 1 else 0
        if not self._n_leaves:
            return
        first, sizes = tree.offsets[-1][:-1].astype(np.int64), np.diff(tree.offsets[-1])
        of_leaf = first[:, None] + sizes[:, None] * np.arange(MEMBERS) // MEMBERS
        members = np.unique(of_leaf)
        scores = self._scores(members)
        self._sorted = np.sort(scores, axis=0)
        self._fields = self._weights_of_fields(members, scores)
        values = self._values(scores)
        self._mean = values.mean(axis=0)
        profiles = _unit(values - self._mean)[np.searchsorted(members, of_leaf)].mean(axis=1)
        self._nearest = NearestLeaves(tree, np.concatenate([profiles, self._held()], axis=1))

    def leaves(self, items: AddedItems) -> NDArray[np.int32]:
        """The leaf nodes of items (J,), the nearest first: (J, up to LEAVES) int32.

        Args:
            items: whose places are not read.
        """
        count = len(items.embeddings)
        if not self._n_leaves:
            return np.empty((count, 0), np.int32)
        positions = self._scorer.tree.n_items + np.arange(count)
        profiles = _unit(self._values(self._scores(positions, items)) - self._mean)
        vectors = np.concatenate([profiles, self._signatures(items.keys)], axis=1)
        return np.stack([self._nearest.find(vector, LEAVES) for vector in vectors])

    def _scores(self, positions: NDArray[np.int64], items: AddedItems | None = None) -> NDArray[np.float32]:
        """First-task logits of items for the sample of users: (C, users) float32.

        In blocks, since whoever scores them in another process has to answer each call within a search's time; each has
        items from everywhere, so that all shards of an index work at the same time.
        """
        depth = self._scorer.tree.depth
        scores = np.empty((len(positions), len(self._queries)), np.float32)
        blocks = -(-len(positions) // BLOCK)
        for column, query in enumerate(self._queries):
            query = replace(query, added=items)
            for first in range(blocks):
                own = slice(first, None, blocks)
                scores[own, column] = self._scorer.score_alone(query, depth, positions[own])[:, 0]
        return scores

    def _values(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """-log(rank / N) of scores (C, users) among those of the leaves' N members, which stresses the top."""
        n = len(self._sorted)
        ranks = np.stack([n - np.searchsorted(self._sorted[:, user], scores[:, user], side="right")
                          for user in range(scores.shape[1])], axis=1)
        values: NDArray[np.float32] = -np.log((1 + ranks) / (n + 1)).astype(np.float32)
        return values

    def _weights_of_fields(self, members: NDArray[np.int64], scores: NDArray[np.float32]
                           ) -> list[tuple[int, NDArray[np.float32], np.float32]]:
        """For each field that keys come of, but the item's id: a family that reads it, directions, and its weight.

        That is the share of the members (C,) that a user ranks highest which hold one of the user's keys in the field.
        """
        families, starts = self._index.families, self._index.starts
        top, slots = members[np.argsort(-scores, axis=0)[:TOP]], np.zeros(self._index.n_keys, np.int32)
        held = np.stack([item_features(query.hits, self._scorer.item_keys, top[:, user], slots)[0].reshape(
            len(top), len(families), -1).max(axis=2) > 0 for user, query in enumerate(self._queries)])
        fields: list[tuple[int, NDArray[np.float32], np.float32]] = []
        for name in sorted({family.item_field for family in families} - {ITEM_ID}):
            readers = [number for number, family in enumerate(families) if family.item_field == name]
            of_value = directions(int(starts[readers[0] + 1] - starts[readers[0]]),
                                  np.random.default_rng(len(fields)))
            fields.append((readers[0], of_value, np.float32(held[:, :, readers].any(axis=2).mean())))
        return fields

    def _signatures(self, keys: ItemKeys) -> NDArray[np.float32]:
        """Signatures of all fields, times their weights: (C, fields x WIDTH) float32."""
        rows = np.arange(len(keys.lists) // keys.families) * keys.families
        parts = [weight * signatures(_values_of(keys, rows + family, self._index.starts[family]), of_value)
                 for family, of_value, weight in self._fields]
        return np.concatenate(parts, axis=1) if parts else np.empty((len(rows), 0), np.float32)

    def _held(self) -> NDArray[np.float32]:
        """The mean signatures of the members of each leaf."""
        offsets, parts = self._scorer.tree.offsets[-1], []
        for start in range(0, self._n_leaves, _BLOCK):
            own = offsets[start:start + _BLOCK + 1]
            of_members = self._signatures(self._scorer.item_keys.take(np.arange(own[0], own[-1])))
            parts.append(np.add.reduceat(of_members, own[:-1] - own[0], axis=0) / np.diff(own)[:, None])
        return np.concatenate(parts).astype(np.float32)


def _values_of(keys: ItemKeys, rows: NDArray[np.int64], start: np.int64) -> Ragged:
    """The values of one family's field: the keys of some lists (C,), counted from the family's first."""
    lists = keys.lists.take(rows)
    return lists.with_values(lists.values - np.int32(start))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors (C, D) at length 1."""
    unit: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return unit
