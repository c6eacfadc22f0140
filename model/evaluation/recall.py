"""Recall of the exhaustive search: draws the users to measure, and the share of their later clicks that it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.postings import KeyIndex
from index_store.features.ragged import Ragged
from index_store.search.ranking import best
from model.data.load import Events
from model.data.retrieval_targets import retrieval_targets
from model.examples.batches import BatchReader
from model.examples.clicks import Clicks
from model.tree.item_scores import ItemScores


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


def recall(reader: BatchReader, clicks: Clicks, index: KeyIndex, users: NDArray[np.integer],
           targets: Ragged, masked: Ragged, at: Sequence[int]) -> dict[str, float | None]:
    """Mean recall of the exhaustive search by the first task.

    Args:
        reader: of the model in eval mode.
        clicks: train clicks, the histories.
        index: key families.
        users: (N,) users to ask.
        targets: N lists of items to find, none empty.
        masked: N lists of items that are not returned, however few others there are.
        at: cut-offs K.

    Returns:
        `recall@K` -> mean over users of hits / items to find, None without users.
    """
    if not len(users):
        return {f"recall@{k}": None for k in at}
    hits = np.zeros((len(users), len(at)))

    def count(place: int, scores: NDArray[np.float32]) -> None:
        scores[masked.row(place)] = -np.inf
        top = best(scores, rows, max(at))
        top = top[scores[top] > -np.inf]  # where fewer than K others are left, `best` fills up with masked ones
        top = top[np.lexsort((top, -scores[top]))]
        hits[place] = [np.isin(targets.row(place), top[:k]).mean() for k in at]

    rows = np.arange(len(reader.dataset.items))
    ItemScores(reader, clicks, index).each(users, count, "recall")
    return {f"recall@{k}": float(h) for k, h in zip(at, hits.mean(axis=0), strict=True)}
