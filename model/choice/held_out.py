"""The hold-out on which settings are chosen: how large it is, and which of its events are asked about."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from model.data.hold_out import hold_out
from model.data.load import Dataset, Events

MANY_POSITIVES, SHARE, SMALL_SHARE = 100_000, 0.1, 0.2
"""A log with as many positives loses the first share of its train events, a smaller one the second."""

IMPRESSIONS = 50_000
"""Held-out impressions that are asked about, those of randomly drawn users."""


@dataclass(frozen=True)
class HeldOut:
    """A log without part of its train events.

    Attributes:
        dataset: the rest as its train set and the asked part of the held-out events as its test set; the test events
            of the log are gone.
        share: of the train events that was held out.
        kind: which events these are, in words.
        seed: of the draw.
    """

    dataset: Dataset
    share: float
    kind: str
    seed: int

    @classmethod
    def of(cls, dataset: Dataset, seed: int) -> HeldOut:
        """Holds out a part of the train events; the test events are not read."""
        spec = dataset.spec
        positives = np.count_nonzero(dataset.train.labels.any(axis=1))
        share = SHARE if positives >= MANY_POSITIVES else SMALL_SHARE
        held = hold_out(dataset, share, seed)
        assert held.test is not None
        if not spec.history_ordered:
            kind = "random pairs of user and ad"
        elif spec.negatives == "impressions":
            kind = "the latest"
            held = replace(held, test=_of_some_users(held.test, seed))
        else:
            kind = "each user's latest" if spec.user_ids else "the latest"
        return cls(held, share, kind, seed)

    @property
    def train(self) -> Events:
        """What is left to train on."""
        return self.dataset.train

    @property
    def asked(self) -> Events:
        """The held-out events that are asked about."""
        assert self.dataset.test is not None
        return self.dataset.test


def _of_some_users(events: Events, seed: int) -> Events:
    """All events of randomly drawn users, IMPRESSIONS at most; at least those of one user."""
    counts = np.bincount(events.users)
    order = np.random.default_rng([seed, 14]).permutation(np.flatnonzero(counts))
    drawn = order[: max(1, int(np.searchsorted(np.cumsum(counts[order]), IMPRESSIONS, side="right")))]
    chosen = np.zeros(len(counts), bool)
    chosen[drawn] = True
    return events.where(chosen[events.users])
