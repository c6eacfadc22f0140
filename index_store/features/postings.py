"""Interaction features by inverted index (Section 2, I2IF): a user's keys against the keys of items and nodes.

A user's sources (the items of the history, or the values of a field) reach keys, each with a few non-negative values;
the features of a candidate are, per family and value, the maximum over the keys that it holds. An item holds the keys
of its fields, an index node those of all its members, so a node's features are the maximum over its members by
construction: an upper bound, as in a heap. Cost = postings touched, never users x items. Knows nothing of towers or
scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import UNKNOWN, Features, FeatureSpec, KeyFamily
from index_store.features.ragged import Ragged, expand_ranges

SCRATCH = 1 << 21
"""Elements of the scratch arrays that serve a batch; batches of users are cut to fit them."""


@dataclass(frozen=True)
class FamilyReach:
    """What the sources of one family reach.

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
        """Each source (S,) reaches its one key, weighted by the key's idf (n_keys,); UNKNOWN is no key."""
        known = key_of_source != UNKNOWN
        indptr = np.zeros(len(known) + 1, np.int64)
        np.cumsum(known, out=indptr[1:])
        keys = key_of_source[known]
        return cls(len(idf), Ragged(indptr, keys), idf[keys])


@dataclass(frozen=True)
class KeyIndex:
    """All key families over a catalogue, in one space of keys and one of sources.

    Attributes:
        families: their declarations.
        starts: (families + 1,) int64; family f has the keys [starts[f], starts[f + 1]), the first one the unknown key.
        source_starts: (families + 1,) int64; likewise its sources, which are values of `user_field` or of `item_field`.
        reach: source -> keys.
        weights: float32, aligned with the keys of `reach`: the key's idf (`match`) or the co-click weight.
    """

    families: tuple[KeyFamily, ...]
    starts: NDArray[np.int64]
    source_starts: NDArray[np.int64]
    reach: Ragged
    weights: NDArray[np.float32]

    @property
    def n_keys(self) -> int:
        return int(self.starts[-1])

    @classmethod
    def of(cls, families: Sequence[KeyFamily], reaches: Sequence[FamilyReach]) -> KeyIndex:
        """Joins what the sources of each family reach."""
        starts = np.cumsum([0, *(reach.n_keys for reach in reaches)], dtype=np.int64)
        source_starts = np.cumsum([0, *(len(reach.keys) for reach in reaches)], dtype=np.int64)
        lengths = [reach.keys.lengths for reach in reaches]
        indptr = np.zeros(int(source_starts[-1]) + 1, np.int64)
        np.cumsum(np.concatenate(lengths) if lengths else [], out=indptr[1:])
        keys = [reach.keys.values + np.int32(start) for reach, start in zip(reaches, starts[:-1], strict=True)]
        return cls(tuple(families), starts, source_starts,
                   Ragged(indptr, np.concatenate(keys) if keys else np.empty(0, np.int32)),
                   np.concatenate([reach.weights for reach in reaches]) if reaches else np.empty(0, np.float32))


@dataclass(frozen=True)
class KeyHits:
    """Distinct keys of B users. Row b is `[indptr[b], indptr[b + 1])`.

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


@dataclass(frozen=True)
class ItemKeys:
    """The keys that items hold: those of item i in family f are row i * families + f of `lists`."""

    families: int
    lists: Ragged

    @classmethod
    def of(cls, families: Sequence[KeyFamily], starts: NDArray[np.int64], fields: Mapping[str, Ragged]) -> ItemKeys:
        """From the ids of each item field, by item row."""
        n, count = len(next(iter(fields.values()))), len(families)
        lengths = np.empty((n, count), np.int64)
        for f, family in enumerate(families):
            lengths[:, f] = fields[family.item_field].lengths
        indptr = np.zeros(n * count + 1, np.int64)
        np.cumsum(lengths.ravel(), out=indptr[1:])
        values = np.empty(int(indptr[-1]), np.int32)
        for f, family in enumerate(families):
            ids = fields[family.item_field].values
            values[expand_ranges(indptr[f:-1:count], lengths[:, f])] = ids + np.int32(starts[f])
        return cls(count, Ragged(indptr, values))

    def take(self, items: NDArray[np.integer]) -> ItemKeys:
        """The given items (C,), in the given order."""
        rows = (np.asarray(items, np.int64)[:, None] * self.families + np.arange(self.families)).ravel()
        return ItemKeys(self.families, self.lists.take(rows))


def values_per_key(spec: FeatureSpec) -> tuple[str, ...]:
    """Names of the values that each key carries; recency needs an ordered history."""
    return ("matches", "weight", "best", "recency") if spec.history_ordered else ("matches", "weight", "best")


def feature_names(spec: FeatureSpec) -> list[str]:
    """Names of the F interaction features, in column order."""
    return [f"{family.name}.{value}" for family in spec.key_families for value in values_per_key(spec)]


def idf(item_keys: Ragged, n_keys: int) -> NDArray[np.float32]:
    """Inverse document frequency of each key over the items: (n_keys,) float32. Counts ads, not clicks.

    It is log((n_items + 1) / (1 + items that hold the key)), and 0 for the unknown key.
    """
    held = np.bincount(item_keys.values, minlength=n_keys)
    result = np.log((len(item_keys) + 1) / (held + 1)).astype(np.float32)
    result[UNKNOWN] = 0.0
    return result


def user_keys(index: KeyIndex, spec: FeatureSpec, users: Features, history: Ragged,
              item_fields: Mapping[str, Ragged]) -> KeyHits:
    """The keys of B users, each with its values.

    `matches` = log(1 + sources that reach the key), `weight` = log(1 + sum of their weights) and `best` = the largest
    of these weights; `recency` = 1 / (1 + rank in the history) of the most recent of them, 0 from a user field.

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
    order = np.argsort(pair, kind="stable")
    pair = pair.take(order)
    users_in = len(history)
    if not len(pair):
        nothing = np.empty((0, len(values_per_key(spec))), np.float32)
        return KeyHits(np.zeros(users_in + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.int64), nothing)
    begins = np.empty(len(pair), bool)
    begins[0] = True
    np.not_equal(pair[1:], pair[:-1], out=begins[1:])
    first = np.flatnonzero(begins)
    ends = np.empty_like(first)
    ends[:-1], ends[-1] = first[1:], len(pair)
    weights = index.weights.take(at.take(order))
    values = np.empty((len(first), len(values_per_key(spec))), np.float32)
    values[:, 0] = np.log1p(ends - first)
    values[:, 1] = np.log1p(np.add.reduceat(weights, first))
    values[:, 2] = np.maximum.reduceat(weights, first)
    if spec.history_ordered:
        values[:, 3] = np.maximum.reduceat(np.repeat(recencies, fan_out).take(order), first)
    pair = pair.take(first)
    indptr = np.searchsorted(pair, np.arange(users_in + 1) * index.n_keys)
    keys = (pair if users_in == 1 else pair % index.n_keys).astype(np.int32)
    return KeyHits(indptr, keys, np.searchsorted(index.starts, keys, side="right") - 1, values)


def _sources(index: KeyIndex, spec: FeatureSpec, users: Features, history: Ragged, item_fields: Mapping[str, Ragged]
             ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Sources of B users in all families, with the user and the recency of each: three (S,)."""
    lengths = history.lengths
    of_history = np.repeat(np.arange(len(lengths)), lengths)
    recency = np.reciprocal(np.arange(1.0, len(of_history) + 1) - history.indptr.take(of_history)).astype(np.float32)
    sources, owners, recencies = [], [], []
    for family, start in zip(index.families, index.source_starts[:-1], strict=True):
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


def _field(spec: FeatureSpec, users: Features, name: str) -> Ragged:
    """Ids of a categorical or multi field of B users."""
    multi = spec.fields("user", "multi")
    if name in multi:
        return users.multi[multi.index(name)]
    column = users.categorical[:, spec.fields("user", "categorical").index(name)]
    return Ragged(np.arange(len(column) + 1, dtype=np.int64), np.ascontiguousarray(column))


def key_postings(item_keys: ItemKeys, index: KeyIndex, node_of_item: NDArray[np.integer]) -> Ragged:
    """Key -> ascending nodes of one level that hold it.

    Args:
        node_of_item: (n_items,) the node of each item; never the items level's, see `item_features`.
    """
    node = np.repeat(np.asarray(node_of_item, np.int64), item_keys.families)
    node = np.repeat(node, item_keys.lists.lengths)
    known = ~np.isin(item_keys.lists.values, index.starts[:-1] + UNKNOWN)
    n_nodes = int(node_of_item.max()) + 1
    pair = np.unique(item_keys.lists.values[known].astype(np.int64) * n_nodes + node[known])
    indptr = np.searchsorted(pair, np.arange(index.n_keys + 1) * np.int64(n_nodes))
    return Ragged(indptr.astype(np.int64), (pair % n_nodes).astype(np.int32))


def node_features(hits: KeyHits, families: int, postings: Ragged, n_nodes: int, nodes: NDArray[np.integer],
                  slots: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
    """Interaction features of B users with index nodes of one level, from the postings of their keys.

    Args:
        hits: the users' keys.
        families: number of key families.
        postings: key -> nodes of this level.
        n_nodes: nodes of this level.
        nodes: (C,) distinct candidates, the same for all users, or (B, C) each user's own, which may repeat.
        slots: zeros, one a node or more, for shared candidates; they are used, and left as zeros. None makes some.

    Returns:
        (B, C, F) float32; a candidate without a hit has zeros.
    """
    users, candidates = len(hits.indptr) - 1, nodes.shape[-1]
    if nodes.ndim == 1:
        slot = np.zeros(n_nodes, np.int32) if slots is None else slots[:n_nodes]
        slot[nodes] = np.arange(1, candidates + 1, dtype=np.int32)
        chunk = max(1, SCRATCH // (candidates * families * hits.values.shape[1] + 1))
        parts = [_maxima(hits, start, min(chunk, users - start), postings, slot[None], candidates, families)
                 for start in range(0, users, chunk)]
        slot[nodes] = 0
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    chunk = max(1, SCRATCH // max(n_nodes, candidates * families * hits.values.shape[1]))
    parts = []
    for start in range(0, users, chunk):
        own = nodes[start:start + chunk]
        first = np.arange(len(own))[:, None]
        slot = np.zeros((len(own), n_nodes), np.int32)
        slot[first, own] = np.arange(1, candidates + 1, dtype=np.int32)
        parts.append(_maxima(hits, start, len(own), postings, slot, candidates, families)[first, slot[first, own] - 1])
    return np.concatenate(parts)


def _maxima(hits: KeyHits, start: int, count: int, postings: Ragged, slot: NDArray[np.int32], candidates: int,
            families: int) -> NDArray[np.float32]:
    """Maximum values of users [start, start + count) for each candidate: (count, candidates, F).

    `slot` (1 or count, n_nodes) is 1 + the candidate that a node is, and 0 for all the nodes that are none.
    """
    first, last = int(hits.indptr[start]), int(hits.indptr[start + count])
    keys, values = hits.keys[first:last], hits.values[first:last]
    begins = postings.indptr.take(keys)
    lengths = postings.indptr.take(keys + 1)
    lengths -= begins
    reached = postings.values.take(expand_ranges(begins, lengths))
    key = np.arange(len(keys)).repeat(lengths)
    if count == 1:
        found = slot[0].take(reached)
    else:
        bounds = hits.indptr[start:start + count + 1]
        owner = np.arange(count).repeat(bounds[1:] - bounds[:-1])
        found = slot.take(owner.take(key) * (slot.shape[1] if len(slot) > 1 else 0) + reached)
    hit = found.nonzero()[0]  # on fine levels most of what a key reaches is no candidate
    key = key.take(hit)
    cell = (found.take(hit).astype(np.int64) - 1) * families
    cell += hits.families[first:last].take(key)
    if count > 1:
        cell += owner.take(key) * (candidates * families)
    width = values.shape[1]
    features = np.zeros((count * candidates * families, width), np.float32)
    of_hit = values.take(key, axis=0)
    for value in range(width):
        np.maximum.at(features[:, value], cell, of_hit[:, value])
    return features.reshape(count, candidates, families * width)


def item_features(hits: KeyHits, item_keys: ItemKeys, items: NDArray[np.integer],
                  slots: NDArray[np.int32]) -> NDArray[np.float32]:
    """Interaction features of B users with items: each candidate's keys are looked up among the user's.

    This is `node_features` for nodes of one item, by the forward list of an item instead of the postings of a key:
    candidates are few and hold few keys a family, postings of a common key are long.

    Args:
        hits: the users' keys.
        item_keys: the keys of the catalogue's items.
        items: (C,) the same items for all users, or (B, C) each user's own.
        slots: zeros, one a key or more; they are used, and left as zeros.

    Returns:
        (B, C, F) float32.
    """
    users, width = len(hits.indptr) - 1, hits.values.shape[1]
    features = np.empty((users, items.shape[-1], item_keys.families * width), np.float32)
    held = item_keys.lists.values.reshape(-1, item_keys.families) if item_keys.lists.one_each else None
    values = np.zeros((len(hits.values) + 1, width), np.float32)
    values[1:] = hits.values
    shared = held.take(items, axis=0) if held is not None and items.ndim == 1 else None
    for user in range(users):
        first, last = int(hits.indptr[user]), int(hits.indptr[user + 1])
        keys = hits.keys[first:last]
        slots[keys] = np.arange(first + 1, last + 1, dtype=np.int32)
        own = items if items.ndim == 1 else items[user]
        if held is None:
            features[user] = _listed(item_keys.take(own), slots, values)
        else:
            at = slots.take(held.take(own, axis=0) if shared is None else shared)
            values.take(at, axis=0, out=features[user].reshape(*at.shape, width))
        slots[keys] = 0
    return features


def _listed(item_keys: ItemKeys, slots: NDArray[np.int32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maximum of `values` over each list of keys of C items: (C, F)."""
    lists = item_keys.lists
    found = values.take(slots.take(lists.values), axis=0)
    result = np.zeros((len(lists), values.shape[1]), np.float32)
    filled = np.flatnonzero(lists.lengths)
    if len(filled):
        result[filled] = np.maximum.reduceat(found, lists.indptr[filled], axis=0)
    return result.reshape(-1, item_keys.families * values.shape[1])
