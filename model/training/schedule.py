"""The schedule of a run: learning rates, weight of the index loss and progress of the joint index at each batch."""

from __future__ import annotations

from dataclasses import dataclass

from model.config.train import TrainConfig
from model.runs.checkpoint import Progress

WARM_UP_BATCHES = 50

CONTEXT_RATE = 50.0
"""Learning rate of context, in that of the dense layers. Its rows begin at zero and have to grow to the size of their
effects within a few hundred batches; each is in every batch many times, so that large steps are not noisy."""


@dataclass(frozen=True)
class Schedule:
    """Epochs without a tree, then rounds with the index loss.

    Attributes:
        config: of the run.
        batches: of an epoch.
    """

    config: TrainConfig
    batches: int

    @property
    def epochs(self) -> int:
        """All epochs."""
        return self.config.all_epochs

    def done(self, at: Progress) -> int:
        """Batches done in all epochs."""
        return at.epoch * self.batches + at.batch

    def learning_rates(self, at: Progress) -> dict[str, float]:
        """Learning rate of each optimizer: a short warm-up, then a straight line to zero."""
        done, config = self.done(at), self.config
        decay = min(1.0, (done + 1) / WARM_UP_BATCHES) * max(0.0, 1 - done / (self.epochs * self.batches))
        return {"dense": config.learning_rate * decay, "tables": config.table_learning_rate * decay,
                "codebooks": config.hill.learning_rate * decay, "context": CONTEXT_RATE * config.learning_rate * decay}

    def index_weight(self, at: Progress) -> float:
        """Weight of the index loss, which ramps up (Section 3.4, warm-up strategy)."""
        warm_up = max(1.0, self.config.index_warm_up * self.batches)
        return self.config.index_weight * min(1.0, (self._done_with_tree(at) + 1) / warm_up)

    def tree_share(self, at: Progress) -> float:
        """Share of the training with a tree that is done."""
        return self._done_with_tree(at) / ((self.epochs - self.config.epochs) * self.batches)

    def _done_with_tree(self, at: Progress) -> int:
        return self.done(at) - self.config.epochs * self.batches
