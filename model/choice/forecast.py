"""How long trials and the final training will take, by the trials so far."""

from __future__ import annotations

from dataclasses import dataclass

from model.choice.trial import Pace
from model.config.train import TrainConfig

TREE_SLOWDOWN = 1.5
"""Seconds of a batch with a tree over those of one without."""

TREE_SECONDS_PER_AD = 1e-3
"""To learn the tree once."""


@dataclass
class Forecast:
    """Predicts seconds.

    Attributes:
        larger: events that the final training has for each one that the trials have.
        ads: of the catalogue.
        preparing: seconds that folds and key index of the trials took.
        besides: seconds of a trial besides its batches.
    """

    larger: float
    ads: int
    preparing: float = 0.0
    besides: float = 0.0

    def trial(self, config: TrainConfig, pace: Pace) -> float:
        """Seconds of a trial of these settings."""
        return self.besides + config.all_epochs * pace.batches * pace.batch_seconds

    def refit(self, config: TrainConfig, pace: Pace) -> float:
        """Seconds of the final training with these settings."""
        with_tree = config.rounds * config.round_epochs
        batches = (config.epochs + TREE_SLOWDOWN * with_tree) * pace.batches
        trees = config.rounds * self.ads * TREE_SECONDS_PER_AD
        return self.larger * (self.preparing + batches * pace.batch_seconds) + trees
