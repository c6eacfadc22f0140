"""Interaction features of candidates (Section 2, I2IF): a user's keys against the keys of items and nodes.

The features of a candidate are, per family and value, the maximum over the user's keys that it holds. A node holds the
keys of all its members, so its features are the maximum over its members: an upper bound, as in a heap. The cost is
proportional to the postings read, not to users x items.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.spec import FeatureSpec
from index_store.declaration.values import FeatureError
from index_store.features.postings import ItemKeys
from index_store.features.ragged import Ragged, expand_ranges
from index_store.features.spectral import SPECTRAL_FEATURES
from index_store.features.user_keys import KeyHits, values_per_key

SCRATCH = 1 << 21
"""Elements of the scratch arrays of a batch; larger batches of users are split."""


def feature_names(spec: FeatureSpec, *, spectral: bool = True) -> list[str]:
    """Names of the F interaction features, in column order: those of the key families, then the spectral ones.

    Args:
        spec: declares the families.
        spectral: False for a bundle without spectral towers, see `KeyIndex`.
    """
    of_keys = [f"{family.name}.{value}" for family in spec.key_families for value in values_per_key(spec, spectral)]
    return [*of_keys, *SPECTRAL_FEATURES] if spectral else of_keys


def columns_of(spec: FeatureSpec, groups: Sequence[str]) -> list[int]:
    """Columns of the interaction features of some groups: names of key families, or `spectral`.

    Raises:
        FeatureError: there is no such family.
    """
    names = feature_names(spec)
    known = {name.rpartition(".")[0] for name in names}
    for group in groups:
        if group not in known:
            raise FeatureError(group, f"{group!r} is no key family of the log",
                               f"choose from {', '.join(sorted(known))}")
    return [at for at, name in enumerate(names) if name.rpartition(".")[0] in groups]


def node_features(hits: KeyHits, families: int, postings: Ragged, n_nodes: int, nodes: NDArray[np.integer],
                  slots: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
    """Interaction features of B users with index nodes of one level, from the postings of their keys.

    Args:
        hits: the users' keys.
        families: number of key families.
        postings: key -> nodes of this level.
        n_nodes: nodes of this level.
        nodes: (C,) distinct candidates, the same for all users, or (B, C) each user's own, which may repeat.
        slots: at least n_nodes zeros, for shared candidates; used as scratch and left as zeros. None allocates them.

    Returns:
        (B, C, F) float32; zeros for a candidate that holds none of the keys.
    """
    users, candidates, width = len(hits.indptr) - 1, nodes.shape[-1], families * hits.values.shape[1]
    if nodes.ndim == 1:
        slot = np.zeros(n_nodes, np.int32) if slots is None else slots[:n_nodes]
        slot[nodes] = np.arange(1, candidates + 1, dtype=np.int32)
        chunk = max(1, SCRATCH // (candidates * width + 1))
        parts = [_maxima(hits, start, min(chunk, users - start), postings, slot[None], candidates, families)
                 for start in range(0, users, chunk)]
        slot[nodes] = 0
        found = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return found.reshape(users, candidates, width)
    found = node_pair_features(hits, families, postings, n_nodes, np.arange(users).repeat(candidates), nodes.ravel())
    return found.reshape(users, candidates, width)


def node_pair_features(hits: KeyHits, families: int, postings: Ragged, n_nodes: int, users: NDArray[np.integer],
                       nodes: NDArray[np.integer]) -> NDArray[np.float32]:
    """Interaction features of S pairs of a user and an index node of one level, as those of `node_features`.

    Args:
        hits, families, postings, n_nodes: as for `node_features`.
        users: (S,) ascending.
        nodes: (S,) of each pair, which may repeat.

    Returns:
        (S, F) float32.
    """
    count, width = len(hits.indptr) - 1, families * hits.values.shape[1]
    most = -(-len(users) // max(1, count))
    chunk = max(1, SCRATCH // max(n_nodes, most * width))
    features, every_slot = np.empty((len(users), width), np.float32), np.zeros((min(chunk, count), n_nodes), np.int32)
    for start in range(0, count, chunk):
        first, end = np.searchsorted(users, [start, start + chunk])
        at = users[first:end] - start, nodes[first:end]
        slot = every_slot[:min(chunk, count - start)]
        slot[at] = np.arange(1, end - first + 1, dtype=np.int32)
        own = _maxima(hits, start, len(slot), postings, slot, end - first, families)
        features[first:end] = own[slot[at] - 1]
        slot[at] = 0  # zeros for the next chunk; new ones for each took a third of the time at 860,000 nodes
    return features


def _maxima(hits: KeyHits, start: int, count: int, postings: Ragged, slot: NDArray[np.int32], candidates: int,
            families: int) -> NDArray[np.float32]:
    """Maximum values of users [start, start + count) for each of their candidates: (rows, F).

    `slot` maps a node to 0 if it is not a candidate. Shared by all users, (1, n_nodes), it maps a candidate to 1 + its
    place, and each user in turn has rows for all candidates. A slot for each user, (count, n_nodes), maps to 1 + a row.
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
    hit = found.nonzero()[0]  # on fine levels most nodes that a key reaches are not candidates
    key = key.take(hit)
    cell = (found.take(hit).astype(np.int64) - 1) * families
    cell += hits.families[first:last].take(key)
    shared = len(slot) == 1
    if shared and count > 1:
        cell += owner.take(key) * (candidates * families)
    rows, width = candidates * (count if shared else 1), values.shape[1]
    features = np.zeros((rows * families, width), np.float32)
    of_hit = values.take(key, axis=0)
    for value in range(width):
        np.maximum.at(features[:, value], cell, of_hit[:, value])
    return features.reshape(rows, families * width)


class Slots(threading.local):
    """Scratch zeros of each thread, for `item_features` and `node_features`."""

    def __init__(self, size: int) -> None:
        self.zeros = np.zeros(size, np.int32)

    def __reduce__(self) -> tuple[type[Slots], tuple[int]]:
        """A copy has zeros of its own."""
        return Slots, (len(self.zeros),)


def item_features(hits: KeyHits, item_keys: ItemKeys, items: NDArray[np.integer],
                  slots: NDArray[np.int32]) -> NDArray[np.float32]:
    """Interaction features of B users with items: looks up each candidate's keys among the user's.

    Gives what `node_features` would for nodes of one item, but from the item's list of keys instead of each key's
    postings: candidates are few and hold few keys per family, while the postings of a common key are long.

    Args:
        hits: the users' keys.
        item_keys: the keys of the catalogue's items.
        items: (C,) the same items for all users, or (B, C) each user's own.
        slots: at least n_keys zeros; used as scratch and left as zeros.

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


def pair_features(hits: KeyHits, item_keys: ItemKeys, n_keys: int, users: NDArray[np.integer],
                  items: NDArray[np.integer]) -> NDArray[np.float32]:
    """Interaction features of S pairs, those that `item_features` gives, without a loop over users.

    For users with a few items each, such as the ads of an impression; for many items of a user, the loop is faster.

    Args:
        hits: the keys of B users.
        item_keys: the keys of the catalogue's items.
        n_keys: keys in all.
        users: (S,) in [0, B).
        items: (S,) rows.

    Returns:
        (S, F) float32.
    """
    lists, families, width = item_keys.take(items).lists, item_keys.families, hits.values.shape[1]
    known = np.repeat(np.arange(len(hits.indptr) - 1) * n_keys, np.diff(hits.indptr)) + hits.keys  # ascending
    of_list = np.repeat(np.asarray(users, np.int64) * n_keys, families)
    wanted = (of_list if lists.one_each else of_list.repeat(lists.lengths)) + lists.values
    at = np.searchsorted(known, wanted)
    held = np.flatnonzero(known.take(at, mode="clip") == wanted) if len(known) else at[:0]
    found = np.zeros((len(wanted), width), np.float32)
    found[held] = hits.values.take(at.take(held), axis=0)
    if lists.one_each:
        return found.reshape(len(users), families * width)
    result = np.zeros((len(lists), width), np.float32)
    filled = np.flatnonzero(lists.lengths)
    if len(filled):
        result[filled] = np.maximum.reduceat(found, lists.indptr[filled], axis=0)
    return result.reshape(len(users), families * width)


def _listed(item_keys: ItemKeys, slots: NDArray[np.int32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maximum of `values` over each item's keys, for C items: (C, F)."""
    lists = item_keys.lists
    found = values.take(slots.take(lists.values), axis=0)
    result = np.zeros((len(lists), values.shape[1]), np.float32)
    filled = np.flatnonzero(lists.lengths)
    if len(filled):
        result[filled] = np.maximum.reduceat(found, lists.indptr[filled], axis=0)
    return result.reshape(-1, item_keys.families * values.shape[1])
