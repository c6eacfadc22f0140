"""Figures on held-out events that are cheap enough to be measured after every epoch."""

from __future__ import annotations

import numpy as np

from model.data.load import Dataset, joined
from model.data.recall_queries import RecallQueries
from model.evaluation.quality import CUTOFFS
from model.evaluation.recall import recall
from model.examples.clicks import Clicks
from model.runs.run import Run
from model.training.normalized_entropy import impression_ne

IMPRESSIONS = 10_000
"""Held-out impressions that are scored: the first ones of users in random order."""

PAIRS, USERS, FEWEST_USERS = 4_000_000, 200, 20
"""Pairs that the users who are asked for recall may cost, the most users, and the fewest whatever they cost."""


class EpochFigures:
    """What a run reaches on a sample of its test events: NE by task on impressions, else recall by the first task.

    Args:
        dataset: the log, of which the test events are held out of the train events.
        seed: of the sample.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        test, users = dataset.test, len(dataset.user_ids)
        assert test is not None
        if dataset.spec.negatives == "impressions":
            place = np.random.default_rng([seed, 17]).permutation(users)[test.users]
            chosen = np.zeros(len(test), bool)
            chosen[np.argsort(place, kind="stable")[:IMPRESSIONS]] = True
            self._impressions, self._queries = test.where(chosen), None
            self._clicks = Clicks.of(joined(dataset.train, test), users)
        else:
            most = int(np.clip(PAIRS // len(dataset.items), FEWEST_USERS, USERS))
            self._queries = RecallQueries.draw(dataset.train, test, users, most, seed)

    def __call__(self, run: Run) -> dict[str, float | None]:
        """The figures of a run in eval mode, by name."""
        if self._queries is None:
            found = impression_ne(run.reader, self._clicks, run.key_index, self._impressions)
            return {f"held_out_ne_{task}": ne for task, ne in found.items()}
        queries = self._queries
        shares = recall(run.reader, run.clicks, run.key_index, queries.users, queries.targets, queries.masked, CUTOFFS)
        return {f"held_out_recall@{k}": shares[f"recall@{k}"] for k in CUTOFFS}
