"""What a training learns from, and what is counted over it before the first batch, which takes long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.postings import KeyIndex
from model.config.train import TrainConfig
from model.data.load import Dataset, Events
from model.examples.folds import Fold, fold_of_pairs
from model.training.ensemble import withhold


@dataclass(frozen=True)
class LearnedLog:
    """The train events of a run.

    Attributes:
        events: that the model learns from.
        withheld: those that fit the weights of a stack; None without a stack.
        fold: (N,) of each event.
    """

    events: Events
    withheld: Events | None
    fold: NDArray[np.integer]

    @classmethod
    def of(cls, dataset: Dataset, config: TrainConfig) -> LearnedLog:
        """The train events of a log, from which the hold-out of the run is taken already."""
        events, withheld = withhold(dataset, config.lower_share) if config.stack else (dataset.train, None)
        return cls(events, withheld, fold_of_pairs(events, config.seed))

    def count(self, dataset: Dataset, number: int) -> Fold:
        """One of the folds of `dataset`."""
        return Fold.of(dataset, self.events.where(self.fold != number))


@dataclass(frozen=True)
class Counted:
    """What is counted over a log.

    Attributes:
        folds: of the events that the model learns from.
        index: over all clicks of the train events.
    """

    folds: Sequence[Fold]
    index: KeyIndex
