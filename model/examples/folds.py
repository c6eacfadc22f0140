"""Folds of a log: an example reads co-click counts and spectral towers of the pairs outside its own fold.

If the counts included the example's own click, a count higher by one would reveal the positive. A fold holds out pairs
of a user and an ad rather than users, so that an example is like a query of a known user: its user's other clicks are
counted, its own are not. All events of a pair are in one fold, since an impression without a click would otherwise read
counts of a click on the same ad.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from index_store.features.postings import KeyIndex
from model.data.load import Dataset, Events
from model.examples.clicks import Clicks
from model.examples.key_index import key_index
from model.progress.single_threads import single_threads

FOLDS = 4

SMALL = 2_000_000
"""Events of a log whose folds may be counted two at a time, which takes 1.2 GB more on Gowalla (810,000 events)."""


@dataclass(frozen=True)
class Fold:
    """What the examples of a fold read: the clicks of the other folds, and the key index counted over them."""

    clicks: Clicks
    index: KeyIndex

    @classmethod
    def all_of(cls, dataset: Dataset, events: Events, fold: NDArray[np.integer]) -> Iterator[Fold]:
        """The folds of a log, given the fold (N,) of each event.

        A small log's are counted two at a time, on a core each, since most of the work is single-threaded.
        """

        def count(number: int) -> Fold:
            return cls.of(dataset, events.where(fold != number))

        if len(events) > SMALL or torch.get_num_threads() == 1:
            yield from map(count, range(FOLDS))
            return
        with single_threads(2) as pool:
            yield from pool.map(count, range(FOLDS))

    @classmethod
    def of(cls, dataset: Dataset, others: Events) -> Fold:
        """A fold, given the events of the other folds."""
        clicks = Clicks.of(others, len(dataset.user_ids))
        return cls(clicks, key_index(dataset, clicks))


def fold_of_pairs(events: Events, seed: int) -> NDArray[np.int64]:
    """The fold of each event: (N,) int64 in [0, FOLDS). The pairs of a user are spread over the folds evenly."""
    rng = np.random.default_rng([seed, 1])
    width = int(events.items.max(initial=0)) + 1
    pairs, pair_of_event = np.unique(events.users.astype(np.int64) * width + events.items, return_inverse=True)
    users = pairs // width
    order = np.lexsort((rng.random(len(pairs)), users))  # users ascend already: each one's pairs are shuffled
    first = np.searchsorted(users, users)
    fold = np.empty(len(pairs), np.int64)
    fold[order] = np.arange(len(pairs)) - first
    offset = rng.integers(0, FOLDS, int(events.users.max(initial=-1)) + 1)
    folds: NDArray[np.int64] = ((fold + offset[users]) % FOLDS)[pair_of_event]
    return folds


def fold_of_users(users: int, seed: int) -> NDArray[np.int64]:
    """A random fold for each user: (U,) int64 in [0, FOLDS)."""
    return np.random.default_rng([seed, 1]).permutation(users) % FOLDS
