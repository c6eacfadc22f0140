"""Recall queries: the users to ask, the ads to find for each, and how much of them is among the best of any scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged
from index_store.search.ranking import best
from model.data.load import Events
from model.data.retrieval_targets import retrieval_targets


@dataclass(frozen=True)
class RecallQueries:
    """Queries with known answers, one per user.

    Attributes:
        users: (N,) rows, in random order.
        targets: N lists of item rows to find, none empty and none masked.
        masked: N lists of item rows that must not be returned: the positives of the train events.
    """

    users: NDArray[np.integer]
    targets: Ragged
    masked: Ragged

    @classmethod
    def draw(cls, train: Events, test: Events, users: int, most: int, seed: int) -> RecallQueries:
        """Draws users who have targets.

        Args:
            train, test: events, judged by the first task.
            users: of the data folder.
            most: users to draw, 0 = all that have a target.
            seed: of the draw.
        """
        targets, masked = retrieval_targets(train, test, users)
        drawn = np.random.default_rng([seed, 8]).permutation(np.flatnonzero(targets.lengths))
        drawn = drawn[:most] if most else drawn
        return cls(drawn, targets.take(drawn), masked.take(drawn))

    def recall_of(self, found: Sequence[NDArray[np.integer]]) -> float | None:
        """Mean share of the targets among the items found for the first users; None without users."""
        return float(np.mean([np.isin(self.targets.row(place), own).mean() for place, own in enumerate(found)])
                     ) if len(found) else None

    def ndcg_of(self, found: Sequence[NDArray[np.integer]], k: int) -> float | None:
        """Mean NDCG@K of the items found for the first users, best first; None without users.

        A target at rank r counts 1 / log2(1 + r), and 0 if it is not among the K. The ideal has all targets first, or
        K of them.
        """
        discounts = 1 / np.log2(np.arange(2, k + 2))
        targets = [np.unique(self.targets.row(place)) for place in range(len(found))]
        gains = [discounts[:len(own[:k])][np.isin(own[:k], wanted)].sum() / discounts[:len(wanted)].sum()
                 for own, wanted in zip(found, targets, strict=True)]
        return float(np.mean(gains)) if gains else None

    def shares(self, place: int, scores: NDArray[np.float32], at: Sequence[int]) -> list[float]:
        """Share of a user's targets in the answer by any scores, for each cut-off K; scores as for `answer`."""
        top = self.answer(place, scores, max(at))
        return [float(np.isin(self.targets.row(place), top[:k]).mean()) for k in at]

    def shares_of(self, found: Sequence[NDArray[np.integer]], at: Sequence[int]) -> NDArray[np.float64]:
        """Share of each user's targets among the first K items found, best first: (N, cut-offs)."""
        lengths = self.targets.lengths
        sums = np.zeros((len(self.users), len(at)))
        np.add.at(sums, np.repeat(np.arange(len(lengths)), lengths), self.hits_of(found, at))
        return sums / lengths[:, None]

    def hits_of(self, found: Sequence[NDArray[np.integer]], at: Sequence[int]) -> NDArray[np.bool_]:
        """Whether each target, user by user, is among the first K items found, best first: (targets, cut-offs)."""
        hits = np.zeros((len(self.targets.values), len(at)), bool)
        for place, items in enumerate(found):
            own = slice(self.targets.indptr[place], self.targets.indptr[place + 1])
            for column, k in enumerate(at):
                hits[own, column] = np.isin(self.targets.values[own], items[:k])
        return hits

    def answer(self, place: int, scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """The K best items by any scores, best first, or fewer if the others are masked.

        Args:
            place: of the user.
            scores: (I,) float32 by item row; those of masked items are overwritten.
            k: items wanted. Ties go to the lower row.
        """
        scores[self.masked.row(place)] = -np.inf
        top = best(scores, np.arange(len(scores)), k)
        top = top[scores[top] > -np.inf]  # where fewer than K others are left, `best` fills up with masked ones
        return top[np.lexsort((top, -scores[top]))]


def mean_shares(shares: NDArray[np.float64], at: Sequence[int]) -> dict[str, float | None]:
    """Recall and its standard error over users.

    Args:
        shares: (N, cut-offs) of each user.
        at: cut-offs K.

    Returns:
        `recall@K` and `se_recall@K`; None without users, the error with a single one too. The error's name does not
        begin with `recall`, since programs read whatever does as a measure of quality.
    """
    found: dict[str, float | None] = {}
    for k, column in zip(at, shares.T, strict=True):
        found[f"recall@{k}"] = float(column.mean()) if len(column) else None
        found[f"se_recall@{k}"] = float(column.std(ddof=1) / np.sqrt(len(column))) if len(column) > 1 else None
    return found
