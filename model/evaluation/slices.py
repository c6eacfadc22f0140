"""Recall by the length of the user's history and by the popularity of the ad to find: for whom a model works."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data.recall_queries import RecallQueries, mean_shares

STARTS = (0, 1, 5, 20, 100)
"""Where the slices of train positives begin."""


def slices(queries: RecallQueries, found: Sequence[NDArray[np.integer]], popularity: NDArray[np.integer],
           at: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
    """Recall of parts of the users, and of parts of the ads to find.

    Args:
        queries: N users.
        found: N answers, best first.
        popularity: (items,) train positives of each item.
        at: cut-offs K.

    Returns:
        `history`: by the user's train positives, with the number of users and `mean_shares` of them; `popularity`: by
        the train positives of the item, with the number of pairs of user and item to find, and the share found. Each
        slice has `from` and `to`, the last one without an end; empty ones are left out.
    """
    shares = queries.shares_of(found, at)
    history = [{**bounds, "users": int(of.sum()), **mean_shares(shares[of], at)}
               for bounds, of in _parts(queries.masked.lengths)]
    hits = queries.hits_of(found, at)
    by_popularity = [{**bounds, "pairs": int(of.sum()), **{f"recall@{k}": float(hits[of, column].mean())
                                                          for column, k in enumerate(at)}}
                     for bounds, of in _parts(popularity[queries.targets.values])]
    return {"history": history, "popularity": by_popularity}


def _parts(values: NDArray[np.integer]) -> Iterator[tuple[dict[str, int | None], NDArray[np.bool_]]]:
    """The bounds of each slice that is not empty, and which values (N,) lie in it."""
    slice_of = np.searchsorted(STARTS, values, side="right") - 1
    for number, (start, after) in enumerate(zip(STARTS, (*STARTS[1:], None), strict=True)):
        of = slice_of == number
        if of.any():
            yield {"from": start, "to": None if after is None else after - 1}, of
