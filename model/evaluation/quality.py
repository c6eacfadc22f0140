"""Quality of a run on test events: recall of the exhaustive search, and normalized entropy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from index_store.features.ragged import Ragged
from model.data.load import Events, joined
from model.data.recall_queries import RecallQueries, mean_shares
from model.data.tables import BASELINE, TRUTH
from model.evaluation.ebr import embedding_retrieval
from model.evaluation.recall import answers, recall
from model.evaluation.slices import slices
from model.examples.clicks import Clicks
from model.progress.lines import tell
from model.progress.range_workers import HERE, RangeWorkers
from model.runs.run import Run
from model.sources.truth import TrueWorld
from model.training.normalized_entropy import impression_ne, sampled_ne

CUTOFFS = (20, 100)

TRUTH_PAIRS, TRUTH_USERS = 20_000_000, 500
"""Users whose top 100 is compared with that of a synthetic world: as many as the pairs allow, this many at most."""


def quality(run: Run, users: int, workers: RangeWorkers = HERE) -> dict[str, Any]:
    """Quality on the test events, or on the held-out ones of a run that has them.

    Args:
        users: test users to ask for recall; 0 = all.
        workers: who scores ranges of ads for recall.

    Returns:
        Recall of the exhaustive search with its standard error, as a whole and by `slices`, and by task NE
        (impressions) or sampled NE (positives);
        recall and cost of the two towers behind a FAISS index, if it is they that rank; `reference`, the figures that a
        source wrote for its log. A figure that the test events do not define is None.
    """
    test = run.dataset.test
    if test is None or not len(test.users):
        return {"test_events": 0}
    run.model.eval()
    with run.reader.using_nodes(run.nodes() if run.config.stack else None):
        return _measured(run, test, users, workers)


def _measured(run: Run, test: Events, users: int, workers: RangeWorkers) -> dict[str, Any]:
    """The figures of `quality` on these events."""
    dataset, clicks, index, seed = run.dataset, run.clicks, run.key_index, run.config.seed
    tasks = [task.name for task in dataset.spec.tasks]
    queries = RecallQueries.draw(dataset.train, test, len(dataset.user_ids), users, seed)
    result: dict[str, Any] = {"test_events": len(test.users), "users": len(queries.users),
                              "held_out": run.config.holdout}
    arguments = (run.reader, clicks, index, queries.users, queries.targets, queries.masked, CUTOFFS)
    if not len(queries.users):
        tell(f"recall is null: no user has a test event with label 1 of {tasks[0]} on an ad that the user had not "
              "clicked in training")
    found = answers(run.reader, clicks, index, queries, max(CUTOFFS), workers)
    result |= mean_shares(queries.shares_of(found, CUTOFFS), CUTOFFS)
    if len(found):
        popularity = np.bincount(clicks.rows, minlength=len(dataset.items))
        result["slices"] = slices(queries, found, popularity, CUTOFFS)
    if run.config.model.over_arch == "dot" and not run.config.stack:
        result["ebr"] = embedding_retrieval(*arguments)
    if dataset.spec.negatives == "impressions":
        both = Clicks.of(joined(dataset.train, test), len(dataset.user_ids))
        result["ne"] = defined("ne", impression_ne(run.reader, both, index, test), tasks, test)
    else:
        every = np.arange(len(test.users))
        sampled = {task: sampled_ne(run.reader, clicks, index, test, every, seed, task=at)
                   for at, task in enumerate(tasks)}
        result["sampled_ne"] = defined("sampled_ne", sampled, tasks, test)
    data = run.data
    if (data / BASELINE).exists():
        result["reference"] = json.loads((data / BASELINE).read_bytes())
    if (data / TRUTH).is_dir() and not run.config.holdout:
        result |= against_truth(run, TrueWorld.open(data), test, workers)
    return result


def against_truth(run: Run, world: TrueWorld, test: Events, workers: RangeWorkers = HERE) -> dict[str, Any]:
    """Comparison with a synthetic world's truth: the Bayes NE by task, and the share of the true top 100 found."""
    most = int(np.clip(TRUTH_PAIRS // len(run.dataset.items), 1, TRUTH_USERS))
    users = np.random.default_rng([run.config.seed, 9]).permutation(len(run.dataset.user_ids))[:most]
    targets, nothing = Ragged.of([world.top_k(user, 100) for user in users]), Ragged.of([[] for _ in users])
    found = recall(run.reader, run.clicks, run.key_index, users, targets, nothing, (100,), workers)
    return {"bayes_ne": world.bayes_ne(test, run.dataset.encoder), "overlap@100_with_truth": found["recall@100"],
            "truth_users": len(users)}


def defined(name: str, figures: Mapping[str, float | None], tasks: Sequence[str],
            test: Events) -> dict[str, float | None]:
    """The figures by task; prints a line to standard error for each that is None.

    Args:
        name: of the figure.
        figures: by task.
        tasks: in the order of the labels.
        test: the events that were measured.
    """
    for at, task in enumerate(tasks):
        if figures[task] is None:
            positives = int(np.count_nonzero(test.labels[:, at]))
            tell(f"{name} of {task} is null: {positives} of the {len(test)} test events have label 1 of {task}, and "
                  "an entropy needs events of both kinds")
    return dict(figures)
