"""Walks over similar users: from the items of a history to the users who clicked them, and on to their other items.

The similarity of two users is the cosine of their clicks, in which rare items count more. It tells apart what co-clicks
of two items cannot: an item that those clicked who share several of the user's items. A walk reads the postings of the
history's items and the clicks of the nearest users, so its cost does not depend on the size of the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged, sorted_with_places
from index_store.features.walks import Walk, reached

MOST_CLICKERS = 128
"""Users that are kept of an item, drawn at random: an item that many clicked says little about who is alike."""

_LEVELS = 1 << 22
"""Similarities that are told apart when users are ranked by them."""

_SEED = 0


@dataclass(frozen=True)
class SimilarUsers:
    """The clicks of known users in both directions. Items are given by their keys, of which 0 is unknown.

    Attributes:
        items: user -> distinct items.
        clickers: item -> users, at most MOST_CLICKERS.
        weights: (K,) float32 weight of each of K items in a cosine, 1 / clicks.
        lengths: (U,) float32 root of the sum of the weights of a user's items.
    """

    items: Ragged
    clickers: Ragged
    weights: NDArray[np.float32]
    lengths: NDArray[np.float32]

    @classmethod
    def of(cls, histories: Ragged, n_keys: int) -> SimilarUsers:
        """From the clicked items of each user, given by their keys below `n_keys`."""
        owner = np.repeat(np.arange(len(histories), dtype=np.int64), histories.lengths)
        pairs = np.unique(owner * n_keys + histories.values)
        users, items = np.divmod(pairs, n_keys)
        clicks = np.bincount(items, minlength=n_keys)
        weights = (1 / np.maximum(clicks, 1)).astype(np.float32)
        lengths = np.sqrt(np.bincount(users, weights=weights[items], minlength=len(histories))).astype(np.float32)
        order = np.lexsort((np.random.default_rng(_SEED).random(len(items)), items))
        place = np.arange(len(items)) - np.repeat(np.cumsum(clicks) - clicks, clicks)
        kept = order[place < MOST_CLICKERS]
        return cls(Ragged.of_owners(users, len(histories), items),
                   Ragged.of_owners(items[kept], n_keys, users[kept]), weights, lengths)

    def walk(self, history: Ragged, most: int, first: int) -> Walk:
        """From the users who are most similar to B users, by their similarity in (0, 1], to the items of each.

        A known user who clicked nothing but items of the history is left out, as everyone is in the own walk.

        Args:
            history: B rows of distinct keys; those unknown count in the length of the user alone.
            most: similar users of each.
            first: is added to each item.
        """
        weights = self.weights.take(history.values)
        met = reached([Walk(history.indptr, history.values, self.clickers, of_sources=weights)], len(history))
        owners = np.arange(len(history)).repeat(np.diff(met.indptr))
        squares = np.bincount(np.arange(len(history)).repeat(history.lengths), weights=weights, minlength=len(history))
        scale = np.sqrt(squares).astype(np.float32).take(owners) * self.lengths.take(met.keys)
        similarity = met.sums / np.maximum(scale, np.float32(1e-20))
        other = np.flatnonzero(met.matches < self.items.indptr.take(met.keys + 1) - self.items.indptr.take(met.keys))
        # By row, and within it the most similar first: far faster than by two keys.
        _, order = sorted_with_places(owners.take(other) * _LEVELS + np.int64(_LEVELS - 1)
                                      - (np.minimum(similarity.take(other), 1) * (_LEVELS - 1)).astype(np.int64))
        best = other.take(order)
        own = owners.take(best)
        nearest = np.arange(len(best)) - np.searchsorted(own, own) < most
        best, own = best[nearest], own[nearest]
        return Walk(np.searchsorted(own, np.arange(len(history) + 1)), met.keys.take(best).astype(np.int64), self.items,
                    of_sources=np.minimum(similarity.take(best), 1), first=first)
