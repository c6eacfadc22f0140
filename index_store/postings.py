"""Interaction features by inverted index (Section 2, I2IF): a user's keys against the keys of items and nodes.

A family's keys come from the user's history. Each key carries a few non-negative values; the features of a candidate
are, per value, the maximum over the keys that it holds. An item holds the keys of its field, an index node holds those
of all its members, so a node's features are the maximum over its members by construction: an upper bound, as in a
heap. Cost = postings touched, never users x items. Knows nothing of towers or scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features import UNKNOWN, FeatureSpec, KeyFamily
from index_store.ragged import Ragged, expand_ranges

SCRATCH = 1 << 19
"""Elements of the dense scratch array into which hits are scattered; batches of users are cut to fit it."""


@dataclass(frozen=True)
class FamilyIndex:
    """One key family over the catalogue.

    Attributes:
        family: its declaration.
        item_keys: item row -> keys.
        idf: (n_keys,) float32, log((n_items + 1) / (1 + items that hold the key)), the unknown key 0.
        neighbours, weights: key -> co-clicked keys and their float32 weights, aligned; None for `match`.
    """

    family: KeyFamily
    item_keys: Ragged
    idf: NDArray[np.float32]
    neighbours: Ragged | None = None
    weights: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class KeyHits:
    """Distinct keys of B users in one family. Row b is `[indptr[b], indptr[b + 1])`.

    Attributes:
        indptr: (B + 1,) int64.
        keys: (M,) int32, ascending within a row.
        values: (M, values per family) float32, all >= 0.
    """

    indptr: NDArray[np.int64]
    keys: NDArray[np.int32]
    values: NDArray[np.float32]


def values_per_family(spec: FeatureSpec) -> tuple[str, ...]:
    """Names of the values that each key carries; recency needs an ordered history."""
    return ("matches", "weight", "best", "recency") if spec.history_ordered else ("matches", "weight", "best")


def feature_names(spec: FeatureSpec) -> list[str]:
    """Names of the F interaction features, in column order."""
    return [f"{family.name}.{value}" for family in spec.key_families for value in values_per_family(spec)]


def idf(item_keys: Ragged, n_keys: int) -> NDArray[np.float32]:
    """Inverse document frequency of each key over the items: (n_keys,) float32. Counts ads, not clicks."""
    held = np.bincount(item_keys.values, minlength=n_keys)
    result = np.log((len(item_keys) + 1) / (held + 1)).astype(np.float32)
    result[UNKNOWN] = 0.0
    return result


def user_keys(index: FamilyIndex, history: Ragged, ordered: bool) -> KeyHits:
    """The keys of B histories in one family, each with its values.

    `matches` = log(1 + history items behind the key), `weight` = log(1 + sum of their weights) and `best` = the largest
    of these weights, where the weight is the key's idf (`match`) or the co-click weight; `recency` = 1 / (1 + rank in
    the history) of the most recent of them.

    Args:
        history: B rows of item rows, most recent first.
        ordered: whether the order of the history means anything.
    """
    n_keys = len(index.idf)
    lengths = history.lengths
    rank = (np.arange(len(history.values)) - np.repeat(history.indptr[:-1], lengths)).astype(np.float32)
    of_items = index.item_keys.take(history.values)
    per_item = of_items.lengths
    owner = np.repeat(np.repeat(np.arange(len(lengths)), lengths), per_item)
    recency = np.repeat(1.0 / (1.0 + rank), per_item).astype(np.float32)
    keys = of_items.values
    if index.neighbours is not None and index.weights is not None:
        starts = index.neighbours.indptr[keys]
        fan_out = index.neighbours.indptr[keys + 1] - starts
        at = expand_ranges(starts, fan_out)
        keys, weights = index.neighbours.values[at], index.weights[at]
        owner, recency = np.repeat(owner, fan_out), np.repeat(recency, fan_out)
    else:
        known = keys != UNKNOWN
        keys, owner, recency = keys[known], owner[known], recency[known]
        weights = index.idf[keys]
    pair = owner * np.int64(n_keys) + keys
    order = np.argsort(pair, kind="stable")
    pair = pair[order]
    if not len(pair):
        nothing = np.empty((0, 3 + ordered), np.float32)
        return KeyHits(np.zeros(len(lengths) + 1, np.int64), np.empty(0, np.int32), nothing)
    begins = np.ones(len(pair), bool)
    np.not_equal(pair[1:], pair[:-1], out=begins[1:])
    first = np.flatnonzero(begins)
    times = np.append(first[1:], len(pair)) - first
    weights = weights[order]
    columns = [np.log1p(times), np.log1p(np.add.reduceat(weights, first)),
               np.maximum.reduceat(weights, first)]
    if ordered:
        columns.append(np.maximum.reduceat(recency[order], first))
    pair = pair[first]
    indptr = np.searchsorted(pair, np.arange(len(lengths) + 1) * np.int64(n_keys))
    return KeyHits(indptr, (pair % n_keys).astype(np.int32), np.stack(columns, axis=1).astype(np.float32))


def key_postings(item_keys: Ragged, n_keys: int, node_of_row: NDArray[np.integer]) -> Ragged:
    """Key -> ascending nodes of one level that hold it.

    Args:
        node_of_row: (n_items,) the node of each item row; never the items level's, see `item_features`.
    """
    node = np.repeat(np.asarray(node_of_row, np.int64), item_keys.lengths)
    known = item_keys.values != UNKNOWN
    n_nodes = int(node_of_row.max()) + 1
    pair = np.unique(item_keys.values[known].astype(np.int64) * n_nodes + node[known])
    indptr = np.searchsorted(pair, np.arange(n_keys + 1) * np.int64(n_nodes))
    return Ragged(indptr.astype(np.int64), (pair % n_nodes).astype(np.int32))


def node_features(hits: Sequence[KeyHits], postings: Sequence[Ragged], n_nodes: int,
                  nodes: NDArray[np.integer] | None) -> NDArray[np.float32]:
    """Interaction features of B users with index nodes of one level, from the postings of their keys.

    Args:
        hits: the users' keys, one KeyHits a family.
        postings: key -> nodes of this level, one Ragged a family.
        n_nodes: nodes of this level.
        nodes: (C,) the same candidates for all users, (B, C) each user's own, or None for all nodes in order.

    Returns:
        (B, C, F) float32; a candidate without a hit has zeros.
    """
    users = len(hits[0].indptr) - 1
    width = sum(h.values.shape[1] for h in hits)
    chunk = max(1, SCRATCH // (n_nodes * width))
    parts = []
    for start in range(0, users, chunk):
        stop = min(start + chunk, users)
        scratch = np.zeros(((stop - start) * n_nodes, width), np.float32)
        column = 0
        for family, to_nodes in zip(hits, postings, strict=True):
            _scatter(scratch, column, family, to_nodes, n_nodes, start, stop)
            column += family.values.shape[1]
        if nodes is None:
            parts.append(scratch.reshape(stop - start, n_nodes, width))
        else:
            first = np.arange(stop - start)[:, None] * n_nodes
            parts.append(scratch.take(first + (nodes if nodes.ndim == 1 else nodes[start:stop]), axis=0))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _scatter(scratch: NDArray[np.float32], column: int, hits: KeyHits, postings: Ragged, n_nodes: int,
             start: int, stop: int) -> None:
    """Maximum of the values of users [start, stop) into `scratch` ((stop - start) * n_nodes, F), from `column` on."""
    first, last = hits.indptr[start], hits.indptr[stop]
    keys = hits.keys[first:last]
    starts = postings.indptr[keys]
    lengths = postings.indptr[keys + 1] - starts
    owner = np.repeat(np.arange(stop - start), hits.indptr[start + 1 : stop + 1] - hits.indptr[start:stop])
    at = postings.values[expand_ranges(starts, lengths)] + np.repeat(owner * n_nodes, lengths)
    for value in range(hits.values.shape[1]):
        np.maximum.at(scratch[:, column + value], at, np.repeat(hits.values[first:last, value], lengths))


def item_features(hits: Sequence[KeyHits], families: Sequence[FamilyIndex],
                  rows: NDArray[np.integer]) -> NDArray[np.float32]:
    """Interaction features of B users with items: each candidate's keys are looked up among the user's.

    This is `node_features` for nodes of one item, by the forward list of an item instead of the postings of a key:
    candidates are few and hold one key a family, postings of a common key are long.

    Args:
        hits: the users' keys, one KeyHits a family.
        families: the same families over the catalogue.
        rows: (C,) item rows for all users, or (B, C) each user's own.

    Returns:
        (B, C, F) float32.
    """
    users = len(hits[0].indptr) - 1
    features = np.empty((users, rows.shape[-1], sum(h.values.shape[1] for h in hits)), np.float32)
    column = 0
    for family, index in zip(hits, families, strict=True):
        width = family.values.shape[1]
        values = np.concatenate([np.zeros((1, width), np.float32), family.values])
        n_keys = len(index.idf)
        chunk = max(1, SCRATCH // n_keys)
        for start in range(0, users, chunk):
            stop = min(start + chunk, users)
            first, last = family.indptr[start], family.indptr[stop]
            owner = np.repeat(np.arange(stop - start), family.indptr[start + 1 : stop + 1] - family.indptr[start:stop])
            slot = np.zeros((stop - start) * n_keys, np.int32)
            slot[owner * n_keys + family.keys[first:last]] = np.arange(first + 1, last + 1)
            users_rows = np.broadcast_to(rows if rows.ndim == 1 else rows[start:stop], (stop - start, rows.shape[-1]))
            found = _look_up(index.item_keys, users_rows, slot, n_keys, values)
            features[start:stop, :, column : column + width] = found
        column += width
    return features


def _look_up(item_keys: Ragged, rows: NDArray[np.integer], slot: NDArray[np.int32], n_keys: int,
             values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maximum over each item's keys of the values that `slot` (B * n_keys,) names: rows (B, C) -> (B, C, width)."""
    first = np.arange(len(rows))[:, None] * n_keys
    if item_keys.one_each:
        return values.take(slot.take(first + item_keys.values.take(rows)), axis=0)
    keys = item_keys.take(rows.ravel())
    lengths = keys.lengths
    found = values.take(slot.take(np.repeat(np.broadcast_to(first, rows.shape).ravel(), lengths) + keys.values), axis=0)
    result = np.zeros((rows.size, values.shape[1]), np.float32)
    filled = np.flatnonzero(lengths)
    if len(filled):
        result[filled] = np.maximum.reduceat(found, keys.indptr[filled], axis=0)
    return result.reshape(*rows.shape, -1)
