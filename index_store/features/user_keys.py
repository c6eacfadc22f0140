"""User keys: the keys that a user's history and fields reach in the index, each with its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.spec import ITEM_ID, FeatureSpec
from index_store.features.encoder import Features
from index_store.features.postings import KeyIndex
from index_store.features.ragged import Ragged
from index_store.features.walks import Walk, reached

WEIGHT = 1
"""Column of `weight` among the values of a key."""


@dataclass(frozen=True)
class KeyHits:
    """Distinct keys of B users; those of user b are `[indptr[b], indptr[b + 1])`.

    Attributes:
        indptr: (B + 1,) int64.
        keys: (M,) int32, ascending within a row.
        families: (M,) int64, the family of each key.
        values: (M, values per key) float32, all >= 0.
    """

    indptr: NDArray[np.int64]
    keys: NDArray[np.int32]
    families: NDArray[np.int64]
    values: NDArray[np.float32]

    def part(self, users: slice) -> KeyHits:
        """Those of consecutive users, as views."""
        first, end = self.indptr[users.start], self.indptr[users.stop]
        return KeyHits(self.indptr[users.start:users.stop + 1] - first, self.keys[first:end], self.families[first:end],
                       self.values[first:end])


def values_per_key(spec: FeatureSpec, spectral: bool = True) -> tuple[str, ...]:
    """Names of the values of each key; recency needs an ordered history.

    Args:
        spec: declares the history.
        spectral: False for a bundle of format 3 or older, which has fewer, see `KeyIndex`.
    """
    older = ("matches", "weight", "best", "recency") if spec.history_ordered else ("matches", "weight", "best")
    return (*older, "share", "sharp") if spectral else older


def user_keys(index: KeyIndex, spec: FeatureSpec, users: Features, history: Ragged,
              item_fields: Mapping[str, Ragged]) -> KeyHits:
    """The keys of B users, each with its values.

    `matches` = log(1 + sources that reach the key), `weight` = log(1 + sum of their weights) and `best` = the largest
    of these weights; `recency` = 1 / (1 + rank in the history) of the most recent of them, 0 from a user field or
    similar users, who count as sources with their similarity. `share`
    = log(1 + 10 weight / the largest weight of the user's keys of the family), and `sharp` likewise with squared
    weights, which favour near neighbours.

    Args:
        index: the key families.
        spec: declares the users' fields.
        users: features of B rows.
        history: B rows of item rows, most recent first.
        item_fields: item field -> ids by item row.
    """
    names, owners, count = values_per_key(spec, index.spectral is not None), len(history), len(index.families)
    found = reached(_walks(index, spec, users, history, item_fields), owners)
    values = np.empty((len(found.keys), len(names)), np.float32)
    np.log1p(found.matches, out=values[:, 0])
    np.log1p(found.sums, out=values[:, WEIGHT])
    values[:, 2] = found.best
    if spec.history_ordered:
        values[:, 3] = found.recencies
    lengths = found.indptr[1:] - found.indptr[:-1]
    if index.spectral is not None and len(values):
        starts, counts = found.indptr[:-1].compress(lengths), lengths.compress(lengths)
        values[:, -2] = _shares(found.sums, starts, counts)
        values[:, -1] = _shares(found.squares, starts, counts)
    families = np.tile(np.arange(count), owners).repeat(lengths)
    bounds = found.indptr.take(np.arange(owners + 1) * count)
    return KeyHits(bounds, found.keys.copy(), families, values)  # a copy: the array has room for all hits


def _shares(values: NDArray[np.float32], starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """log(1 + 10 value / the largest value of its group), given where groups start and how many values each has."""
    largest = np.maximum(np.maximum.reduceat(values, starts), np.float32(1e-20))
    shares: NDArray[np.float32] = np.log1p(10 * values / largest.repeat(counts))
    return shares


def _walks(index: KeyIndex, spec: FeatureSpec, users: Features, history: Ragged, item_fields: Mapping[str, Ragged]
           ) -> list[Walk]:
    """The walk of each family: from the history, from a field of the users, or over similar users."""
    walks, recencies, distinct = [], None, None
    for family, start, first in zip(index.families, index.source_starts[:-1], index.starts[:-1], strict=True):
        if family.via == "similar_users":
            assert index.similar is not None
            if distinct is None:
                distinct = _distinct(item_fields[ITEM_ID], history, index.n_keys)
            walks.append(index.similar.walk(distinct, family.neighbours, int(first)))
            continue
        own = None
        if family.user_field:
            ids = _field(spec, users, family.user_field)
            bounds = ids.indptr
        else:
            ids = item_fields[family.item_field].take(history.values)
            bounds = history.indptr if ids.one_each else ids.indptr.take(history.indptr)
            if spec.history_ordered:
                if recencies is None:
                    recencies = _recencies(history)
                own = recencies if ids.one_each else recencies.repeat(ids.lengths)
        walks.append(Walk(bounds, ids.values + start, index.reach, index.weights, recencies=own))
    return walks


def _recencies(history: Ragged) -> NDArray[np.float32]:
    """1 / (1 + rank in its history) of each item."""
    ranks = np.arange(1.0, len(history.values) + 1) - history.indptr[:-1].repeat(history.lengths)
    return np.reciprocal(ranks).astype(np.float32)


def _distinct(item_keys: Ragged, history: Ragged, n_keys: int) -> Ragged:
    """The distinct keys, below `n_keys`, of each row of a history."""
    lengths = history.lengths
    keys = item_keys.take(history.values).values
    clicked = np.unique(np.arange(len(lengths)).repeat(lengths) * n_keys + keys)
    return Ragged.of_owners(clicked // n_keys, len(lengths), clicked % n_keys)


def _field(spec: FeatureSpec, users: Features, name: str) -> Ragged:
    """Ids of a categorical or multi field of B users."""
    multi = spec.fields("user", "multi")
    if name in multi:
        return users.multi[multi.index(name)]
    column = users.categorical[:, spec.fields("user", "categorical").index(name)]
    return Ragged.singles(np.ascontiguousarray(column))
