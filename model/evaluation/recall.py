"""Recall of the exhaustive search, the share of the users' later clicks that it finds; and its answers themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index_store.features.postings import KeyIndex
from index_store.features.ragged import Ragged
from model.data.recall_queries import RecallQueries, mean_shares
from model.examples.batches import BatchReader
from model.examples.clicks import Clicks
from model.progress.range_workers import HERE, RangeWorkers
from model.tree.best_items import best_items
from model.tree.item_scores import ItemScores


def recall(reader: BatchReader, clicks: Clicks, index: KeyIndex, users: NDArray[np.integer],
           targets: Ragged, masked: Ragged, at: Sequence[int], workers: RangeWorkers = HERE) -> dict[str, float | None]:
    """Mean recall of the exhaustive search by the first task.

    Args:
        reader: of the model in eval mode.
        clicks: train clicks, the histories.
        index: key families.
        users: (N,) users to ask.
        targets: N lists of items to find, none empty.
        masked: N lists of items that are not returned, however few others there are.
        at: cut-offs K.
        workers: who scores ranges of items.

    Returns:
        `recall@K` -> mean over users of hits / items to find, `se_recall@K` -> its standard error, see `mean_shares`.
    """
    return mean_shares(recall_shares(reader, clicks, index, RecallQueries(users, targets, masked), at, workers), at)


def recall_shares(reader: BatchReader, clicks: Clicks, index: KeyIndex, queries: RecallQueries,
                  at: Sequence[int], workers: RangeWorkers = HERE) -> NDArray[np.float64]:
    """Share of each user's targets among the K best of all items: (N, cut-offs); arguments as for `recall`."""
    return queries.shares_of(answers(reader, clicks, index, queries, max(at), workers), at)


def answers(reader: BatchReader, clicks: Clicks, index: KeyIndex, queries: RecallQueries, k: int,
            workers: RangeWorkers = HERE) -> list[NDArray[np.int64]]:
    """The K best items of every query by the first task, best first; arguments as for `recall`."""
    if not len(queries.users):
        return []
    return best_items(ItemScores(reader, clicks, index), queries.users, queries.masked, k, "recall", workers)
