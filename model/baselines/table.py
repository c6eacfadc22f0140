"""The table of baselines: each fitted on the same train events and asked about the same users as the model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from model.baselines.budget import Budget, Pace, SkippedError, need_memory
from model.baselines.cache import Cache, data_hash
from model.baselines.ease import MOST_ITEMS, PENALTIES, Ease, bytes_needed, flops_needed
from model.baselines.hold_out import CUTOFFS, HoldOut
from model.baselines.ials import TRIAL_ITERATIONS, Ials, Settings, choose
from model.baselines.impressions import constant_ne, logistic_regression
from model.baselines.item_cosine import SHRINKAGES, ItemCosine
from model.baselines.popularity import Popularity
from model.baselines.positives import Matrix, Ranker, lengths, positives, shares_of
from model.data.load import Dataset, Events
from model.data.recall_queries import RecallQueries, mean_shares
from model.progress.bars import Bar
from model.progress.lines import tell

Row = dict[str, Any]
"""`recall@K`, `se_recall@K` and `ne` by task, where the baseline has them, `settings` that were chosen and `seconds`;
or `skipped` with the reason."""

MOST_SETTINGS = 12
"""Settings of iALS that are tried on the hold-out."""

COSINE_RATE, REGRESSION_RATE, DENSE_RATE = 3e6, 1.5e5, 2e10
"""Pairs of positives of one user that item cosine takes in a second, impressions that a regression fits, and operations
of a dense factorisation, on a core with AVX2 beside other work."""


@dataclass(frozen=True)
class Log:
    """What the baselines are fitted on and asked.

    Attributes:
        dataset: whose declaration and fields are read, not its events.
        train, test: events.
        queries: on the test events.
        seed: of hold-outs and initial weights.
    """

    dataset: Dataset
    train: Events
    test: Events
    queries: RecallQueries
    seed: int

    @cached_property
    def matrix(self) -> Matrix:
        """The train positives of the first task."""
        return positives(self.train, len(self.dataset.user_ids), len(self.dataset.items))

    @cached_property
    def hold_out(self) -> HoldOut:
        """Part of the train positives, to choose settings."""
        return HoldOut.of(self.train, len(self.dataset.user_ids), len(self.dataset.items), self.seed,
                          latest=self.dataset.spec.history_ordered)

    def recall(self, ranker: Ranker) -> Row:
        """Recall of a baseline that is fitted on `matrix`."""
        return dict(mean_shares(shares_of(ranker, self.matrix, self.queries, CUTOFFS), CUTOFFS))

    def ne(self, measure: Callable[[int], float | None]) -> Row:
        """NE by the name of the task, of a function of its number."""
        return {"ne": {task.name: measure(at) for at, task in enumerate(self.dataset.spec.tasks)}}


def baseline_table(train: Events, test: Events, dataset: Dataset, *, users: int, seed: int, everything: bool = False,
                   seconds: float | None = None, cache: Cache | None = None) -> dict[str, Row]:
    """Fits every baseline that the log allows, from cheap to dear, and measures it.

    Args:
        train: events to fit on; those of a choice of settings are held out of them.
        test: events to ask about, such as a hold-out of train.
        dataset: whose declaration and fields are read, but not its train and test events.
        users: users to ask for recall, 0 = all who have a target; drawn as `RecallQueries.draw` does.
        seed: of the draw, of hold-outs and of initial weights.
        everything: also what is left out for the size of the catalogue, if the memory allows it.
        seconds: budget; what is not expected to fit is skipped, and settings are chosen among fewer. None for no limit.
        cache: keeps results; only used without a budget, which depends on how busy the machine is.

    Returns:
        Name -> row, in the order of fitting.
    """
    queries = RecallQueries.draw(train, test, len(dataset.user_ids), users, seed)
    log, budget = Log(dataset, train, test, queries, seed), Budget(*() if seconds is None else (seconds,))
    methods: dict[str, Callable[[Log, Budget], Row]] = {"popularity": _popularity, "item cosine": _item_cosine}
    if dataset.spec.negatives == "impressions":
        methods |= {"constant": _constant, "logistic regression": _logistic_regression}
    methods |= {"iALS": _ials, "EASE": _ease_of_any_size if everything else _ease}
    kept = cache if seconds is None else None
    key = data_hash(dataset, train, test, queries.users) if kept is not None else ""
    _tell_of_unknown_users(log)
    table: dict[str, Row] = {}
    for name, method in Bar(methods.items(), desc="baselines", unit="baseline", leave=False):
        known = kept.get(key, name) if kept is not None else None
        table[name] = known or _measured(method, log, budget)
        if kept is not None and known is None and "skipped" not in table[name]:
            kept.put(key, name, table[name])
    return table


def _tell_of_unknown_users(log: Log) -> None:
    """Says how many of the asked users have no train positive, where it is more than half."""
    users = log.queries.users
    unknown = int((lengths(log.matrix)[users] == 0).sum())
    if 2 * unknown > len(users):
        tell(f"{unknown:,} of the {len(users):,} test users have no train positive of "
                   f"{log.dataset.spec.tasks[0].name}; all baselines rank for them by popularity")


def _measured(method: Callable[[Log, Budget], Row], log: Log, budget: Budget) -> Row:
    began = time.perf_counter()
    try:
        row = method(log, budget)
    except SkippedError as reason:
        return {"skipped": str(reason)}
    return {**row, "seconds": round(time.perf_counter() - began, 1)}


def _need_positives(log: Log) -> None:
    task = log.dataset.spec.tasks[0].name
    if not log.matrix.nnz:
        raise SkippedError(f"no train event has label 1 of {task}")
    if not len(log.queries.users):
        raise SkippedError(f"no user has a test event with label 1 of {task} on an ad that the user had not clicked in "
                      "training")


def _popularity(log: Log, budget: Budget) -> Row:
    _need_positives(log)
    return log.recall(Popularity.fit(log.matrix))


def _item_cosine(log: Log, budget: Budget) -> Row:
    _need_positives(log)
    budget.need((len(SHRINKAGES) + 1) * float((lengths(log.matrix) ** 2).sum()) / COSINE_RATE)
    held = log.hold_out
    reached = {shrinkage: held.recall(ItemCosine.fit(held.train, shrinkage)) for shrinkage in SHRINKAGES}
    shrinkage = max(reached, key=lambda shrinkage: reached[shrinkage])
    return {**log.recall(ItemCosine.fit(log.matrix, shrinkage)), "settings": {"shrinkage": shrinkage}}


def _constant(log: Log, budget: Budget) -> Row:
    return log.ne(lambda task: constant_ne(log.train.labels[:, task], log.test.labels[:, task]))


def _logistic_regression(log: Log, budget: Budget) -> Row:
    if len(log.train) < 2:
        raise SkippedError(f"a train log of {len(log.train)} impressions leaves none to choose the penalty on")
    pace, chosen = Pace(budget), dict[str, float]()

    def measure(task: int) -> float | None:
        budget.need(2 * len(log.train) / REGRESSION_RATE)
        found, chosen[log.dataset.spec.tasks[task].name] = logistic_regression(log.dataset, log.train, log.test, task,
                                                                               log.seed, pace.more)
        return found

    return {**log.ne(measure), "settings": {"penalty": chosen}}


def _ials(log: Log, budget: Budget) -> Row:
    _need_positives(log)
    half = Budget(budget.left / 2) if budget.limited else budget
    half.need(1)
    pace = Pace(half, reserve=2)  # the final fit has twice the iterations

    def recall(settings: Settings) -> float:
        return log.hold_out.recall(Ials.fit(log.hold_out.train, settings, log.seed, TRIAL_ITERATIONS))

    settings, tried = choose(recall, pace.more, MOST_SETTINGS)
    return {**log.recall(Ials.fit(log.matrix, settings, log.seed)), "settings": {**asdict(settings), "tried": tried}}


def _ease(log: Log, budget: Budget) -> Row:
    items = log.matrix.shape[1]
    if items > MOST_ITEMS:
        raise SkippedError(f"{items:,} ads are more than {MOST_ITEMS:,}; evaluate with --baselines all to fit it, with "
                      f"{bytes_needed(items) / 2**30:.1f} GiB of memory")
    return _ease_of_any_size(log, budget)


def _ease_of_any_size(log: Log, budget: Budget) -> Row:
    _need_positives(log)
    items = log.matrix.shape[1]
    need_memory(bytes_needed(items))
    budget.need((len(PENALTIES) + 1) * flops_needed(items) / DENSE_RATE)
    reached = {penalty: log.hold_out.recall(Ease.fit(log.hold_out.train, penalty)) for penalty in PENALTIES}
    penalty = max(reached, key=lambda penalty: reached[penalty])
    return {**log.recall(Ease.fit(log.matrix, penalty)), "settings": {"penalty": penalty}}
