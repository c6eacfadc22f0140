"""The ladder offline: what stands for held-out pairs, on each rung, as the service will find it.

On the rung `pair` that is the foundation model's codes of the pair itself. On the rung `user` it is the mean of the
codes of the ads that the served model proposes for the user, without the pair itself: what a search finds in a user's
value for an ad that is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.speculation.pair_codes import MOST, PairCodes
from model.data.load import Events, joined
from model.examples.clicks import Clicks
from model.progress.range_workers import HERE
from model.runs.run import Run
from model.speculation.event_pairs import PairOutputs, mean_of, outputs_of_candidates, outputs_of_events
from model.tree.best_items import best_items
from model.tree.item_scores import ItemScores

PROPOSED = 64
"""Ads of a user whose codes make the aggregate offline: the best by the served model, which its beam proposes."""

MOST_USERS = 4_000
"""Users whose events are fitted on: some ten events each fit a handful of numbers."""

COMPONENTS = 8
"""Components that the autoencoder keeps."""


@dataclass(frozen=True, eq=False)
class Ladder:
    """Held-out events and what stands for their pairs.

    Attributes:
        labels: (N, T) int8.
        served: (N, T) float32 logits of the served model.
        foundation: (N, T) float32 logits of the foundation model.
        pair, user: (N, T + D) float32 values of the codes on each rung.
    """

    labels: NDArray[np.int8]
    served: NDArray[np.float32]
    foundation: NDArray[np.float32]
    pair: NDArray[np.float32]
    user: NDArray[np.float32]


def fitted_codes(residuals: NDArray[np.float32], embeddings: NDArray[np.float32]) -> PairCodes:
    """The autoencoder of least squared error over pairs: (N, T) residuals and (N, H) interaction embeddings."""
    mean = embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = embeddings - mean
    _, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    axes = np.ascontiguousarray(vectors[:, ::-1][:, :COMPONENTS], np.float32)
    values = np.concatenate([residuals, centred @ axes], axis=1)
    # One value in a thousand is cut off, so that outliers do not make all others coarse.
    steps = np.quantile(np.abs(values), 0.999, axis=0) / MOST
    return PairCodes(mean, axes, np.maximum(steps, 1e-6).astype(np.float32))


def some_events(run: Run, events: Events, seed: int) -> Events:
    """The events of as many users as are fitted on."""
    users = np.unique(events.users)
    if len(users) <= MOST_USERS:
        return events
    chosen = np.random.default_rng([seed, 17]).permutation(users)[:MOST_USERS]
    return events.where(np.isin(events.users, chosen))


def climb(run: Run, foundation: Sequence[Run], events: Events, earlier: Events, codes: PairCodes | None = None
          ) -> tuple[Ladder, PairCodes]:
    """What stands for events on each rung.

    Args:
        run: to be served.
        foundation: the foundation model.
        events: held out from both.
        earlier: all events before them; the proposals are made as of their end.
        codes: the autoencoder; None fits one on these events.
    """
    n_users = len(run.dataset.user_ids)
    before, both = Clicks.of(earlier, n_users), Clicks.of(joined(earlier, events), n_users)
    served = outputs_of_events(run, both, events, embed=False)
    asked = mean_of([outputs_of_events(one, both, events, embed=True) for one in foundation])
    residuals = asked.logits - served.logits
    codes = codes or fitted_codes(residuals, asked.embeddings)
    pair = codes.decoded(codes.encoded(residuals, asked.embeddings))
    users, owner = np.unique(events.users, return_inverse=True)
    rows, values = _proposed(run, foundation, before, users, codes)
    is_own = rows[owner] == events.items[:, None]
    sums = values.sum(axis=1)[owner] - (values[owner] * is_own[:, :, None]).sum(axis=1)
    user = sums / (rows.shape[1] - is_own.sum(axis=1, keepdims=True))
    return Ladder(events.labels, served.logits, asked.logits, pair, user.astype(np.float32)), codes


def _proposed(run: Run, foundation: Sequence[Run], clicks: Clicks, users: NDArray[np.integer],
              codes: PairCodes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best items (U, PROPOSED) of users by the served model, and the values of their codes (U, PROPOSED, T + D)."""
    found = best_items(ItemScores(run.reader, clicks, run.key_index), users, clicks.histories(users), PROPOSED,
                       "proposals", HERE, masked_score=-1e9)
    rows = np.stack(found)
    served: PairOutputs = outputs_of_candidates(run, clicks, users, rows, embed=False)
    asked = mean_of([outputs_of_candidates(one, clicks, users, rows, embed=True) for one in foundation])
    values = codes.decoded(codes.encoded(asked.logits - served.logits, asked.embeddings))
    return rows, values.reshape(*rows.shape, -1)
