"""What a model reaches on a hold-out, and by how much one is better than another on the same users or impressions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.choice.held_out import HeldOut
from model.config.train import TrainConfig
from model.data.load import joined
from model.data.recall_queries import RecallQueries, mean_shares
from model.evaluation.quality import CUTOFFS
from model.evaluation.recall import recall_shares
from model.examples.clicks import Clicks
from model.runs.run import Run
from model.runs.task_weights import task_weights
from model.training.normalized_entropy import impression_logits, log_losses

USERS, IMPRESSION_USERS = 1_000, 300
"""Users who are asked for recall at most; fewer where recall is for information only."""


@dataclass(frozen=True)
class Reached:
    """What a model reached.

    Attributes:
        values: (N,) of each user or impression.
        row: `recall@K`, `se_recall@K` and `ne` by task, for a table beside the baselines.
    """

    values: NDArray[np.float64]
    row: dict[str, Any] = field(default_factory=dict)


class Measure(ABC):
    """A figure of merit: the mean of N values.

    Attributes:
        name: of the figure.
        sign: 1 if higher is better, -1 if lower is.
        users: (N,) the user of each value.
        asked: users who are asked for recall.
    """

    name: str
    sign: int
    users: NDArray[np.integer]
    asked: int

    @abstractmethod
    def of(self, run: Run) -> Reached:
        """What the run's model reaches, in eval mode."""

    def mean(self, reached: Reached) -> tuple[float, float]:
        """The figure and its standard error."""
        return _mean(reached.values, self.users)

    def gain(self, reached: Reached, before: Reached) -> tuple[float, float]:
        """By how much one model is better than another, and the standard error of this difference."""
        return _mean(self.sign * (reached.values - before.values), self.users)


def _mean(values: NDArray[np.float64], users: NDArray[np.integer]) -> tuple[float, float]:
    """Mean of values (N,) and its standard error, infinite for one user, whose values are not independent."""
    _, user = np.unique(users, return_inverse=True)
    counts, sums = np.bincount(user), np.bincount(user, values)
    mean, of = float(values.mean()), len(counts)
    if of < 2:
        return mean, np.inf
    return mean, float(np.sqrt(((sums - counts * mean) ** 2).sum() * of / (of - 1)) / len(values))


class MeanRecall(Measure):
    """Mean of Recall@20 and Recall@100 by the first task, for logs of positives.

    Args:
        held: the hold-out; some user has a target.
        queries: on it.
    """

    name, sign, asked = "mean of Recall@20 and @100", 1, USERS

    def __init__(self, queries: RecallQueries) -> None:
        self.users, self._queries = queries.users, queries

    def of(self, run: Run) -> Reached:
        shares = recall_shares(run.reader, run.clicks, run.key_index, self._queries, CUTOFFS)
        return Reached(shares.mean(axis=1), dict(mean_shares(shares, CUTOFFS)))


class WeightedEntropy(Measure):
    """Normalized entropy, weighted by task, for logs of impressions.

    Args:
        held: the hold-out.
        weights: (tasks,) 0 for those whose held-out labels are all the same.
    """

    name, sign, asked = "NE weighted by task", -1, IMPRESSION_USERS

    def __init__(self, held: HeldOut, weights: NDArray[np.float64]) -> None:
        self._held, self._weights, self.users = held, weights / weights.sum(), held.asked.users
        rates = np.where(weights > 0, held.asked.labels.mean(axis=0), 0.5)
        self._entropy = -(rates * np.log(rates) + (1 - rates) * np.log(1 - rates))
        dataset = held.dataset
        self._clicks = Clicks.of(joined(held.train, held.asked), len(dataset.user_ids))
        self._queries = RecallQueries.draw(held.train, held.asked, len(dataset.user_ids), self.asked, held.seed)

    def of(self, run: Run) -> Reached:
        """The values, and recall of some users for information."""
        reached = self._reached(impression_logits(run.reader, self._clicks, run.key_index, self._held.asked))
        shares = recall_shares(run.reader, run.clicks, run.key_index, self._queries, CUTOFFS)
        return Reached(reached.values, {**mean_shares(shares, CUTOFFS), **reached.row})

    def constant(self) -> Reached:
        """What the train rate of each task reaches."""
        rates = np.clip(self._held.train.labels.mean(axis=0), 1e-7, 1 - 1e-7)
        return self._reached(np.broadcast_to(np.log(rates / (1 - rates)), self._held.asked.labels.shape))

    def _reached(self, logits: NDArray[np.floating]) -> Reached:
        losses = log_losses(logits, self._held.asked.labels) / self._entropy
        tasks = zip(self._held.dataset.spec.tasks, self._weights, losses.mean(axis=0), strict=True)
        return Reached(losses @ self._weights,
                       {"ne": {task.name: float(ne) if weight else None for task, weight, ne in tasks}})


def measure_of(held: HeldOut, config: TrainConfig) -> Measure | None:
    """The measure of a log; None if the held-out events define none.

    Args:
        held: the hold-out.
        config: whose task weights count.
    """
    dataset = held.dataset
    if not len(held.train) or not len(held.asked):
        return None
    if dataset.spec.negatives == "sampled":
        queries = RecallQueries.draw(held.train, held.asked, len(dataset.user_ids), USERS, held.seed)
        return MeanRecall(queries) if len(queries.users) else None
    rates = held.asked.labels.mean(axis=0)
    weights = np.where((rates > 0) & (rates < 1), task_weights(dataset.spec, config), 0.0)
    return WeightedEntropy(held, weights) if weights.any() else None
