"""Valuation: the eCPM of ads, and what a node of the tree promises of it.

eCPM is what an ad is expected to pay for a thousand impressions, in micros: a CPM bid itself, or 1,000 x p x bid, where
p is the calibrated probability, of an impression, of the label that bids of this type pay for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.spec import BidType
from index_store.value.bids import BID_TYPES, CPM, LABEL_TYPES, NO_BID
from index_store.value.calibration import Calibrations
from index_store.value.live_bids import LiveBids

IMPRESSIONS = 1000.0
"""What an eCPM is for."""

_LABEL_COLUMNS = [BID_TYPES.index(kind) for kind in LABEL_TYPES]


@dataclass(frozen=True, eq=False)
class Valuation:
    """How one search ranks by eCPM.

    Worth is eCPM, above 0. An ad without a bid is worth less than any that has one: the logarithm of the sigmoid of its
    score, below 0, so that these ads come last, and by score.

    Attributes:
        calibrations: of the tasks.
        paid: bid type -> the task that it pays for, None for impressions.
        bids: of the ads.
    """

    calibrations: Calibrations
    paid: Mapping[BidType, int | None]
    bids: LiveBids

    def of_items(self, positions: NDArray[np.int64], logits: NDArray[np.float32],
                 scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Worth (C,) of the items at positions (C,) with these logits (C, tasks) and scores (C,)."""
        return self.of_members(positions, np.arange(len(positions)), logits, scores)

    def of_members(self, positions: NDArray[np.int64], owners: NDArray[np.int64], logits: NDArray[np.float32],
                   scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """What items promise that are not scored: their own bids, at the probabilities of the nodes above them.

        Args:
            positions: (N,) of the items.
            owners: (N,) the node of each.
            logits, scores: (C, tasks) and (C,) of the nodes.
        """
        micros, types = self.bids.at(positions)
        return worth_of(micros * self._rates(logits)[owners, types], scores[owners])

    def of_nodes(self, level: int, nodes: NDArray[np.int64], logits: NDArray[np.float32],
                 scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """What nodes (C,) of a level above the items promise: their own probabilities x the best bids below them.

        CPM bids count for no node, since the ads of the best ones are known without a search.
        """
        best = self.bids.best[level - 1].take(nodes, axis=0)
        return worth_of((best * self._rates(logits)[:, _LABEL_COLUMNS]).max(axis=1), scores)

    def _rates(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """(C, 3) expected payments for IMPRESSIONS, as multiples of a bid of each of BID_TYPES."""
        rates = np.zeros((len(logits), len(BID_TYPES)))
        rates[:, CPM] = 1.0
        for number, task in self._used:
            rates[:, number] = IMPRESSIONS * self.calibrations.probability(task, logits)
        return rates

    @cached_property
    def _used(self) -> list[tuple[int, int]]:
        """Numbers of the types, of those that pay for a label and are bid in, and the tasks that they pay for."""
        offered = zip(LABEL_TYPES, self.bids.offered.tolist(), strict=True)
        return [(BID_TYPES.index(kind), task) for kind, some in offered
                if some and (task := self.paid.get(kind)) is not None]

    @property
    def needs_scores(self) -> bool:
        """Whether the worth of some ad with a bid depends on its logits."""
        return bool(self._used)


def worth_of(ecpm: NDArray[np.float64], scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """The worth (C,) of ads with these eCPM (C,) in micros, which it overwrites, and scores (C,); see Valuation."""
    without = np.flatnonzero(ecpm <= NO_BID)
    if len(without):
        ecpm[without] = -np.logaddexp(0.0, -scores[without].astype(np.float64))
    return ecpm


def ecpm_of(worth: NDArray[np.floating]) -> NDArray[np.float64]:
    """The eCPM in micros of what is worth so much: 0 without a bid."""
    return np.asarray(np.maximum(worth, 0.0), np.float64)
