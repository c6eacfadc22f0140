"""What the stored pairs of a foundation model are worth: NE and recall by coverage, and the transfer ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.speculation.adapter import RUNGS, Speculation
from index_store.value.calibration import Calibrations
from model.config.errors import ConfigError
from model.data.load import load_dataset
from model.data.recall_queries import RecallQueries
from model.examples.clicks import Clicks
from model.export.calibrate import calibrate, calibrations_of, platt
from model.runs.run import Run
from model.speculation.event_pairs import mean_of, outputs_of_candidates
from model.speculation.fitting import fit_speculation
from model.speculation.ladder import Ladder, climb, some_events
from model.training.normalized_entropy import NormalizedEntropy
from model.tree.best_items import best_items
from model.tree.item_scores import ItemScores

COVERAGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
CANDIDATES, STORED, TOP_K = 400, 256, 100
"""Ads of a search's last level, those of them with a stored pair, and those that it returns."""

RECALL_USERS = 2_000

Logits = NDArray[np.float32]


def speculated_quality(run: Run, foundation: Sequence[Run]) -> dict[str, Any]:
    """Measures on the test events what was fitted on the events that both runs hold out.

    Args:
        run: to be served, trained with a hold-out.
        foundation: see `open_foundation`.

    Returns:
        NE by task, in the order of `tasks`: `ne_served` and `ne_foundation` as they are, `ne_served_scaled` and
        `ne_foundation_scaled` after Platt's scaling on the hold-out; as a bundle answers, calibrated, `ne_nothing`,
        `ne_pair` and `ne_user`, with all pairs on one rung; `ne_by_coverage`, with so many on the rung `pair` and the
        others on `user`, and `ne_by_coverage_else_nothing`. `transfer`: the gain on the rung `pair` / that of the
        foundation model, over the scaled served model; None where the foundation model gains nothing.
        `recall@100`: among the candidates of the served model, of the foundation model, and by the share of users with
        pairs, with its own `transfer` and the standard error of the gain of all users having some.

    Raises:
        ConfigError: there is no hold-out, or nothing else among the test events.
    """
    full = load_dataset(run.data)
    if not run.config.holdout or full.test is None or run.dataset.test is None:
        raise ConfigError(f"{run.folder.path} has no hold-out besides test events, so what is fitted could only be "
                          "measured on itself; train both runs with --holdout, on a log with test events")
    held_out = some_events(run, run.dataset.test, run.config.seed)
    calibrated = calibrate(run)
    assert calibrated is not None, "`open_foundation` has refused a log of positives"
    calibrations = calibrations_of(calibrated)
    fitted = fit_speculation(run, foundation, calibrations)
    tasks = [task.name for task in run.dataset.spec.tasks]
    ladder, _ = climb(run, foundation, some_events(run, full.test, run.config.seed), full.train, fitted.codes)
    before, _ = climb(run, foundation, held_out, run.dataset.train, fitted.codes)
    figures = _ne(ladder, before, fitted, calibrations, run.config.seed, tasks)
    return {"held_out": len(before.labels), "test": len(ladder.labels), **figures,
            "recall@100": _recall(run, foundation, fitted, RECALL_USERS)}


def _ne(ladder: Ladder, before: Ladder, fitted: Speculation, calibrations: Calibrations, seed: int,
        tasks: list[str]) -> dict[str, Any]:
    """NE on the test events (see `speculated_quality`)."""
    labels = ladder.labels

    def ne(logits: NDArray[np.floating]) -> list[float | None]:
        entropy = NormalizedEntropy(labels.shape[1])
        entropy.add(logits.astype(np.float32), labels.astype(np.float32))
        return entropy.values()

    def scaled(early: Logits, late: Logits) -> Logits:
        found = [platt(early[:, task], before.labels[:, task]) for task in range(labels.shape[1])]
        return np.stack([late[:, task] if one is None else one(late[:, task])
                         for task, one in enumerate(found)], axis=1)

    def answered(added: Logits | float) -> NDArray[np.float64]:
        logits = ladder.served + added
        return np.stack([one(logits[:, task]) for task, one in enumerate(calibrations.of_task)], axis=1)

    pair, user = (answered(fitted.adapter.added(rung, getattr(ladder, rung))) for rung in RUNGS)
    nothing = answered(0.0)
    drawn = np.random.default_rng([seed, 18]).random(len(labels))[:, None]
    plain, platt_served = ne(ladder.served), ne(scaled(before.served, ladder.served))
    platt_foundation, with_pairs = ne(scaled(before.foundation, ladder.foundation)), ne(pair)
    by_coverage = {str(coverage): ne(np.where(drawn < coverage, pair, user)) for coverage in COVERAGES}
    to_nothing = {str(coverage): ne(np.where(drawn < coverage, pair, nothing)) for coverage in COVERAGES}
    transfer: dict[str, float | None] = {}
    for at, task in enumerate(tasks):
        base, best, found = platt_served[at], platt_foundation[at], with_pairs[at]
        transfer[task] = None
        if base is not None and best is not None and found is not None and best < base:
            transfer[task] = (base - found) / (base - best)
    return {"tasks": tasks, "ne_served": plain, "ne_foundation": ne(ladder.foundation),
            "ne_served_scaled": platt_served, "ne_foundation_scaled": platt_foundation, "ne_pair": with_pairs,
            "ne_user": ne(user), "ne_nothing": ne(nothing),
            "ne_by_coverage": by_coverage, "ne_by_coverage_else_nothing": to_nothing, "transfer": transfer}


def _recall(run: Run, foundation: Sequence[Run], fitted: Speculation, most: int) -> dict[str, Any]:
    """Recall@100 of test clicks among the candidates of the served model, reranked for a share of the users."""
    full = load_dataset(run.data)
    assert full.test is not None
    queries = RecallQueries.draw(full.train, full.test, len(full.user_ids), most, run.config.seed)
    clicks, users = Clicks.of(full.train, len(full.user_ids)), queries.users
    if not len(users):
        return {"users": 0, "foundation": None, "by_coverage": {}, "se_gain": None, "transfer": None}
    candidates = min(CANDIDATES, len(full.items) - int(queries.masked.lengths.max(initial=0)))
    rows = np.stack(best_items(ItemScores(run.reader, clicks, run.key_index), users, queries.masked, candidates,
                               "candidates"))
    served = outputs_of_candidates(run, clicks, users, rows, embed=False).logits
    asked = mean_of([outputs_of_candidates(one, clicks, users, rows, embed=True) for one in foundation])
    values = fitted.codes.decoded(fitted.codes.encoded(asked.logits - served, asked.embeddings))
    shape = len(users), rows.shape[1]
    values = values.reshape(*shape, -1)
    aggregate = fitted.adapter.added("user", values[:, :STORED].mean(axis=1))[:, None, 0]
    added = np.where(np.arange(shape[1]) < STORED, fitted.adapter.added("pair", values)[..., 0], aggregate)
    before, after = served[:, 0].reshape(shape), served[:, 0].reshape(shape) + added
    drawn = np.random.default_rng([run.config.seed, 19]).random(len(users))[:, None]

    def shares(scores: NDArray[np.floating]) -> NDArray[np.float64]:
        order = np.argsort(-scores, axis=1, kind="stable")[:, :TOP_K]
        found = [own[best] for own, best in zip(rows, order, strict=True)]
        return queries.shares_of(found, (TOP_K,))[:, 0]

    plain, most_found, best = shares(before), shares(after), shares(asked.logits[:, 0].reshape(shape))
    by_coverage = {str(coverage): float(shares(np.where(drawn < coverage, after, before)).mean())
                   for coverage in COVERAGES}
    gain, gain_of_best = (most_found - plain).mean(), (best - plain).mean()
    return {"users": len(users), "foundation": float(best.mean()), "by_coverage": by_coverage,
            "se_gain": float((most_found - plain).std() / len(users) ** 0.5),
            "transfer": float(gain / gain_of_best) if gain_of_best > 0 else None}
