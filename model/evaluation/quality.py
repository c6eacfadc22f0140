"""The quality of a run on the events that it did not train on: recall of the exhaustive search, and NE."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.features.ragged import Ragged
from model.data.load import Events
from model.data.tables import BASELINE, TRUTH
from model.data.truth import TrueWorld
from model.evaluation.ebr import embedding_retrieval
from model.evaluation.recall import recall
from model.examples.moments import Clicks
from model.training.normalized_entropy import impression_ne, sampled_ne
from model.training.trainer import Trainer

TRUTH_PAIRS, TRUTH_USERS = 20_000_000, 500
"""Users whose top 100 is compared with that of a synthetic world: as many as the pairs allow, this many at most."""


@dataclass(frozen=True)
class Asked:
    """Users who are asked for recall.

    Attributes:
        users: (N,) rows, in random order.
        targets: N lists of item rows to find, none empty.
        masked: N lists of item rows that must not be returned: those of the train events.
    """

    users: NDArray[np.integer]
    targets: Ragged
    masked: Ragged

    @classmethod
    def of(cls, trainer: Trainer, test: Events, users: int) -> Asked:
        """So many of the users with positives of the first task among the test events, 0 = all."""
        n = len(trainer.dataset.user_ids)
        first = Clicks.of(_of_first_task(test), n)
        targets = first.lists
        seen = Clicks.of(_of_first_task(trainer.dataset.train), n)
        asked = np.random.default_rng([trainer.config.seed, 8]).permutation(np.flatnonzero(np.diff(targets.indptr)))
        asked = asked[:users] if users else asked
        return cls(asked, targets.take(asked), seen.lists.take(asked))


def quality(trainer: Trainer, users: int) -> dict[str, Any]:
    """Quality on the test events, or on the held-out ones of a run that has them.

    Args:
        users: test users to ask for recall; 0 = all.

    Returns:
        Recall of the exhaustive search, and by task NE (impressions) or sampled NE (positives; None for a task without
        test positives); recall and cost of the two towers behind a FAISS index, if it is they that rank.
    """
    test = trainer.dataset.test
    if test is None or not len(test.users):
        return {"test_events": 0}
    trainer.model.eval()
    with trainer.reader.through(trainer.learner.nodes() if trainer.config.stack else None):
        return _measured(trainer, test, users)


def _measured(trainer: Trainer, test: Events, users: int) -> dict[str, Any]:
    """The figures of `quality` on these events."""
    dataset, clicks, index, seed = trainer.dataset, trainer.clicks, trainer.everyone, trainer.config.seed
    asked = Asked.of(trainer, test, users)
    result: dict[str, Any] = {"test_events": len(test.users), "users": len(asked.users),
                              "held_out": trainer.config.holdout}
    question = (trainer.reader, clicks, index, asked.users, asked.targets, asked.masked, (20, 100))
    result |= recall(*question)
    if trainer.config.model.over_arch == "dot" and not trainer.config.stack:
        result["ebr"] = embedding_retrieval(*question)
    if dataset.spec.negatives == "impressions":
        both = Clicks.of(_joined(dataset.train, test), len(dataset.user_ids))
        result["ne"] = impression_ne(trainer.reader, both, index, test)
    else:
        every = np.arange(len(test.users))
        found = {task.name: sampled_ne(trainer.reader, clicks, index, test, every, seed, leave_out=False, task=at)
                 for at, task in enumerate(dataset.spec.tasks)}
        result["sampled_ne"] = {task: value if math.isfinite(value) else None for task, value in found.items()}
    _, data = trainer.run.config()
    if (data / BASELINE).exists():
        result["baselines"] = json.loads((data / BASELINE).read_bytes())
    if (data / TRUTH).is_dir() and not trainer.config.holdout:
        result |= against_truth(trainer, TrueWorld.open(data), test)
    return result


def against_truth(trainer: Trainer, world: TrueWorld, test: Events) -> dict[str, Any]:
    """What a synthetic world knows: the Bayes NE by task, and how much of its true top 100 the model's holds."""
    most = int(np.clip(TRUTH_PAIRS // len(trainer.dataset.items), 1, TRUTH_USERS))
    users = np.random.default_rng([trainer.config.seed, 9]).permutation(len(trainer.dataset.user_ids))[:most]
    targets, nothing = Ragged.of([world.top_k(user, 100) for user in users]), Ragged.of([[] for _ in users])
    found = recall(trainer.reader, trainer.clicks, trainer.everyone, users, targets, nothing, (100,))
    return {"bayes_ne": world.bayes_ne(test), "overlap@100_with_truth": found["recall@100"],
            "truth_users": len(users)}


def _of_first_task(events: Events) -> Events:
    return events.where(events.labels[:, 0] == 1)


def _joined(train_events: Events, test_events: Events) -> Events:
    users, times = (np.concatenate([getattr(e, name) for e in (train_events, test_events)])
                    for name in ("users", "timestamps"))
    order = np.lexsort((times, users))
    items, labels = (np.concatenate([getattr(e, name) for e in (train_events, test_events)])[order]
                     for name in ("items", "labels"))
    return Events(users[order], items, times[order], labels)
