"""Recall of the exhaustive search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index_store.features.postings import KeyIndex
from index_store.features.ragged import Ragged
from index_store.search.ranking import best
from model.examples.batches import Reader
from model.examples.moments import Clicks
from model.tree.item_scores import ItemScores


def recall(reader: Reader, clicks: Clicks, index: KeyIndex, users: NDArray[np.integer],
           targets: Ragged, masked: Ragged, at: Sequence[int]) -> dict[str, float]:
    """Mean recall of the exhaustive search by the first task.

    Args:
        reader: of the model in eval mode.
        clicks: train clicks, the histories.
        index: key families.
        users: (N,) users to ask.
        targets: N lists of items to find, none empty.
        masked: N lists of items that must not be returned.
        at: cut-offs K.

    Returns:
        `recall@K` -> mean over users of hits / items to find.
    """
    hits = np.zeros((len(users), len(at)))

    def count(place: int, scores: NDArray[np.float32]) -> None:
        scores[masked.row(place)] = -np.inf
        top = best(scores, rows, max(at))
        top = top[np.lexsort((top, -scores[top]))]
        hits[place] = [np.isin(targets.row(place), top[:k]).mean() for k in at]

    rows = np.arange(len(reader.dataset.items))
    ItemScores(reader, clicks, index).each(users, count, "recall")
    return {f"recall@{k}": float(h) for k, h in zip(at, hits.mean(axis=0), strict=True)}
