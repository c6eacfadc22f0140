"""The best items of many users, by scores that come range by range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged
from index_store.search.ranking import best
from model.progress.bars import Bar
from model.progress.range_workers import HERE, RangeWorkers, Worker
from model.progress.ranges import Range
from model.tree.item_scores import ItemScores, Users


class BestItems:
    """The best items of each user.

    Args:
        users: how many.
        most: items of a user.
    """

    def __init__(self, users: int, most: int) -> None:
        self._most = most
        self.rows = [np.empty(0, np.int64)] * users
        """Rows of each user's best items, best first."""
        self._scores = [np.empty(0, np.float32)] * users

    def take(self, place: int, items: Range, scores: NDArray[np.float32]) -> None:
        """Takes a user's scores of a range; those of -inf are never among the best, and ties go to the lower row."""
        own = best(scores, np.arange(len(scores)), self._most)
        own = own[scores[own] > -np.inf]
        self._merge(place, items.first + own, scores[own])

    def join(self, other: BestItems) -> None:
        """Takes the best of the same users among other items."""
        for place, (rows, scores) in enumerate(zip(other.rows, other._scores, strict=True)):
            self._merge(place, rows, scores)

    def _merge(self, place: int, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        rows = np.concatenate([self.rows[place], rows])
        scores = np.concatenate([self._scores[place], scores])
        first = np.lexsort((rows, -scores))[:self._most]
        self.rows[place], self._scores[place] = rows[first], scores[first]


@dataclass(frozen=True)
class _BestOfRange:
    """The best items of users in a range, as `Work`; attributes as the arguments of `best_items`."""

    scores: ItemScores
    users: Users
    masked: Ragged
    masked_score: float
    most: int

    def __call__(self, items: Range, worker: Worker) -> BestItems:
        found = BestItems(len(self.users), self.most)

        def keep(place: int, scores: NDArray[np.float32]) -> None:
            _hide(scores, items, self.masked.row(place), self.masked_score)
            found.take(place, items, scores)

        self.scores.range(items, self.users, keep, worker)
        return found


def best_items(scores: ItemScores, users: Users, masked: Ragged, most: int, what: str,
               workers: RangeWorkers = HERE, masked_score: float = -np.inf) -> list[NDArray[np.int64]]:
    """Rows of the best items of each user, best first, ties by row.

    Args:
        scores: of the items.
        users: (U,) rows.
        masked: U lists of items that get `masked_score` in place of their score.
        most: items of a user.
        what: for the progress bar.
        workers: who computes ranges.
        masked_score: items of -inf are never among the best.
    """
    found, work = BestItems(len(users), most), _BestOfRange(scores, users, masked, masked_score, most)
    with Bar(total=len(users) * sum(map(len, scores.ranges)), desc=what, unit="pair", unit_scale=True,
             leave=False) as bar:
        for own in workers.results(work, scores.ranges, bar.update):
            found.join(own)
    return found.rows


def _hide(scores: NDArray[np.float32], items: Range, rows: NDArray[np.integer], score: float) -> None:
    """Overwrites the scores (R,) of those rows that lie in a range."""
    scores[rows[(rows >= items.first) & (rows < items.end)] - items.first] = score
