"""Inverted index of keys (Section 2, I2IF): which keys a user's sources reach, and which items and nodes hold a key.

A source (an item of the history, or a value of a user field) reaches keys, each with a weight. An item holds the keys
of its fields; an index node holds the keys of all its members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.spec import KeyFamily
from index_store.features.encoder import UNKNOWN
from index_store.features.ragged import Ragged, distinct, expand_ranges
from index_store.features.similar_users import SimilarUsers
from index_store.features.spectral import SpectralTowers


@dataclass(frozen=True)
class FamilyReach:
    """The keys that the sources of one family reach.

    Attributes:
        n_keys: keys of the family, the unknown one included.
        keys: source -> keys.
        weights: float32, aligned with the keys.
    """

    n_keys: int
    keys: Ragged
    weights: NDArray[np.float32]

    @classmethod
    def matching(cls, key_of_source: NDArray[np.int32], idf: NDArray[np.float32]) -> FamilyReach:
        """Each source (S,) reaches one key, weighted by the key's idf (n_keys,), or none where that is UNKNOWN."""
        known = key_of_source != UNKNOWN
        keys = key_of_source[known]
        return cls(len(idf), Ragged.of_lengths(known, keys), idf[keys])

    @classmethod
    def nothing(cls, n_keys: int) -> FamilyReach:
        """The reach of a family without sources, whose keys similar users reach."""
        return cls(n_keys, Ragged.of([]), np.empty(0, np.float32))


@dataclass(frozen=True)
class KeyIndex:
    """All key families over a catalogue, numbered in one space of keys and one of sources.

    Attributes:
        families: their declarations.
        starts: (families + 1,) int64; family f has the keys [starts[f], starts[f + 1]), the first one the unknown key.
        source_starts: (families + 1,) int64; likewise for sources, which are values of `user_field` or `item_field`.
        reach: source -> keys.
        weights: float32, aligned with the keys of `reach`: the key's idf (`match`) or the co-click weight.
        spectral: the other source of pair features; None in a bundle of format 3 or older, whose keys have fewer
            values, too.
        similar: what families via `similar_users` read; None without one.
    """

    families: tuple[KeyFamily, ...]
    starts: NDArray[np.int64]
    source_starts: NDArray[np.int64]
    reach: Ragged
    weights: NDArray[np.float32]
    spectral: SpectralTowers | None = None
    similar: SimilarUsers | None = None

    @property
    def n_keys(self) -> int:
        return int(self.starts[-1])

    @classmethod
    def of(cls, families: Sequence[KeyFamily], reaches: Sequence[FamilyReach],
           spectral: SpectralTowers | None = None, similar: SimilarUsers | None = None) -> KeyIndex:
        """Joins the families' reaches."""
        starts = np.cumsum([0, *(reach.n_keys for reach in reaches)], dtype=np.int64)
        source_starts = np.cumsum([0, *(len(reach.keys) for reach in reaches)], dtype=np.int64)
        keys = [reach.keys.with_values(reach.keys.values + np.int32(start))
                for reach, start in zip(reaches, starts[:-1], strict=True)]
        weights = np.concatenate([reach.weights for reach in reaches]) if reaches else np.empty(0, np.float32)
        return cls(tuple(families), starts, source_starts, Ragged.concatenated(keys), weights, spectral,
                   similar)


@dataclass(frozen=True)
class ItemKeys:
    """The keys that items hold: those of item i in family f are row i * families + f of `lists`."""

    families: int
    lists: Ragged

    @classmethod
    def of(cls, families: Sequence[KeyFamily], starts: NDArray[np.int64], fields: Mapping[str, Ragged]) -> ItemKeys:
        """Builds the lists from the ids of each item field, by item row."""
        n, count = len(next(iter(fields.values()))), len(families)
        lengths = np.empty((n, count), np.int64)
        for f, family in enumerate(families):
            lengths[:, f] = fields[family.item_field].lengths
        lists = Ragged.of_lengths(lengths.ravel(), np.empty(int(lengths.sum()), np.int32))
        for f, family in enumerate(families):
            ids = fields[family.item_field].values
            lists.values[expand_ranges(lists.indptr[f:-1:count], lengths[:, f])] = ids + np.int32(starts[f])
        return cls(count, lists)

    def take(self, items: NDArray[np.integer]) -> ItemKeys:
        """The given items (C,), in the given order."""
        rows = (np.asarray(items, np.int64)[:, None] * self.families + np.arange(self.families)).ravel()
        return ItemKeys(self.families, self.lists.take(rows))


def idf(item_keys: Ragged, n_keys: int) -> NDArray[np.float32]:
    """Inverse document frequency of each key over the items, not over clicks: (n_keys,) float32.

    It is log((n_items + 1) / (1 + items that hold the key)), and 0 for the unknown key. An item that holds a key twice
    counts twice; the result is not negative all the same.
    """
    held = np.bincount(item_keys.values, minlength=n_keys)
    result = np.log(np.maximum((len(item_keys) + 1) / (held + 1), 1)).astype(np.float32)
    result[UNKNOWN] = 0.0
    return result


def key_postings(item_keys: ItemKeys, index: KeyIndex, node_of_item: NDArray[np.integer]) -> Ragged:
    """Key -> ascending nodes of one level that hold it.

    Args:
        node_of_item: (n_items,) the node of each item, at a level above the items; those use `item_features`.
    """
    n_nodes, lists = int(node_of_item.max()) + 1, item_keys.lists
    starts, lengths = (part.reshape(-1, item_keys.families) for part in (lists.indptr[:-1], lists.lengths))
    pairs = []
    for family, first in enumerate(index.starts[:-1]):  # ascending keys; one at a time, to bound memory
        of_family = lists.values[expand_ranges(starts[:, family], lengths[:, family])]
        node = np.repeat(np.asarray(node_of_item, np.int64), lengths[:, family])
        known = of_family != first + UNKNOWN
        pairs.append(distinct(of_family[known].astype(np.int64) * n_nodes + node[known]))
    keys, nodes = np.divmod(np.concatenate(pairs), n_nodes)
    return Ragged.of_owners(keys, index.n_keys, nodes)
