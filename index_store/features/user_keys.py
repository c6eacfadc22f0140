"""User keys: the keys that a user's history and fields reach in the index, each with its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import Features
from index_store.features.postings import KeyIndex
from index_store.features.ragged import Ragged, expand_ranges, sorted_with_places
from index_store.features.spec import ITEM_ID, FeatureSpec

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
    sources, owners, recencies = _sources(index, spec, users, history, item_fields)
    starts = index.reach.indptr.take(sources)
    fan_out = index.reach.indptr.take(sources + 1) - starts
    at = expand_ranges(starts, fan_out)
    pair = np.repeat(owners * index.n_keys, fan_out) + index.reach.values.take(at)
    reached, recency = index.weights.take(at), np.repeat(recencies, fan_out)
    if index.similar is not None:
        more, similarity = _of_similar_users(index, history, item_fields)
        pair, reached = np.concatenate([pair, more]), np.concatenate([reached, similarity])
        recency = np.concatenate([recency, np.zeros(len(more), np.float32)])
    pair, order = sorted_with_places(pair)
    users_in = len(history)
    names = values_per_key(spec, index.spectral is not None)
    if not len(pair):
        nothing = np.empty((0, len(names)), np.float32)
        return KeyHits(np.zeros(users_in + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.int64), nothing)
    begins = np.empty(len(pair), bool)
    begins[0] = True
    np.not_equal(pair[1:], pair[:-1], out=begins[1:])
    first = np.flatnonzero(begins)
    ends = np.empty_like(first)
    ends[:-1], ends[-1] = first[1:], len(pair)
    weights = reached.take(order)
    pair = pair.take(first)
    owner, keys = (0, pair) if users_in == 1 else np.divmod(pair, index.n_keys)
    families = np.searchsorted(index.starts, keys, side="right") - 1
    values = np.empty((len(first), len(names)), np.float32)
    sums = np.add.reduceat(weights, first)
    values[:, 0] = np.log1p(ends - first)
    values[:, WEIGHT] = np.log1p(sums)
    values[:, 2] = np.maximum.reduceat(weights, first)
    if spec.history_ordered:
        values[:, 3] = np.maximum.reduceat(recency.take(order), first)
    if index.spectral is not None:
        group = owner * len(index.families) + families
        values[:, -2] = _shares(sums, group)
        values[:, -1] = _shares(np.add.reduceat(weights * weights, first), group)
    indptr = np.searchsorted(pair, np.arange(users_in + 1) * index.n_keys)
    return KeyHits(indptr, keys.astype(np.int32), families, values)


def _shares(values: NDArray[np.float32], group: NDArray[np.int64]) -> NDArray[np.float32]:
    """log(1 + 10 value / the largest value of its group); groups (M,) ascend."""
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    largest = np.maximum.reduceat(values, starts)
    counts = np.diff(starts, append=len(group))
    shares: NDArray[np.float32] = np.log1p(10 * values / np.repeat(np.maximum(largest, np.float32(1e-20)), counts))
    return shares


def _sources(index: KeyIndex, spec: FeatureSpec, users: Features, history: Ragged, item_fields: Mapping[str, Ragged]
             ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Sources of B users in all families: three arrays (S,) of sources, their users and their recency."""
    lengths = history.lengths
    of_history = np.repeat(np.arange(len(lengths)), lengths)
    recency = np.reciprocal(np.arange(1.0, len(of_history) + 1) - history.indptr.take(of_history)).astype(np.float32)
    sources, owners, recencies = [], [], []
    for family, start in zip(index.families, index.source_starts[:-1], strict=True):
        if family.via == "similar_users":
            continue
        if family.user_field:
            ids = _field(spec, users, family.user_field)
            owners.append(np.repeat(np.arange(len(ids)), ids.lengths))
            recencies.append(np.zeros(len(ids.values), np.float32))
        else:
            ids = item_fields[family.item_field].take(history.values)
            owners.append(of_history if ids.one_each else np.repeat(of_history, ids.lengths))
            recencies.append(recency if ids.one_each else np.repeat(recency, ids.lengths))
        sources.append(ids.values + start)
    if not sources:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    return np.concatenate(sources), np.concatenate(owners), np.concatenate(recencies)


def _of_similar_users(index: KeyIndex, history: Ragged, item_fields: Mapping[str, Ragged]
                      ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Pairs user * n_keys + key that similar users reach, one for each of them, and their similarities: (M,) each."""
    assert index.similar is not None
    lengths = history.lengths
    owner = np.repeat(np.arange(len(lengths)) * index.n_keys, lengths)
    clicked = np.unique(owner + item_fields[ITEM_ID].take(history.values).values)
    distinct = Ragged.of_owners(clicked // index.n_keys, len(lengths), clicked % index.n_keys)
    pairs, similarities = [], []
    for family, start in zip(index.families, index.starts[:-1], strict=True):
        if family.via == "similar_users":
            owners, items, similarity = index.similar.reached(distinct, family.neighbours)
            pairs.append(owners * index.n_keys + (items + start))
            similarities.append(similarity)
    return np.concatenate(pairs), np.concatenate(similarities)


def _field(spec: FeatureSpec, users: Features, name: str) -> Ragged:
    """Ids of a categorical or multi field of B users."""
    multi = spec.fields("user", "multi")
    if name in multi:
        return users.multi[multi.index(name)]
    column = users.categorical[:, spec.fields("user", "categorical").index(name)]
    return Ragged.singles(np.ascontiguousarray(column))
