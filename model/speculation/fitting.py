"""Fits autoencoder and adapter of a served model to a foundation model, on events that neither has learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from index_store.speculation.adapter import RUNGS, Adapter, Speculation
from index_store.value.calibration import Calibration, Calibrations, sigmoid
from model.runs.run import Run
from model.speculation.foundation import foundation_hash
from model.speculation.ladder import Ladder, climb, some_events

RIDGE = 20.0
"""Prior of the weight of a task's own residual, which all pairs have in common."""

RIDGES = (20.0, 200.0, 2_000.0, 20_000.0, 1e9)
"""Priors of all other weights to choose from, of standardised values, in units of one event's loss; the last one leaves
them at nothing."""


def fit_speculation(run: Run, foundation: Sequence[Run], calibrations: Calibrations) -> Speculation:
    """Fits on the events that both runs hold out, or else the test events.

    A pair that the foundation model was trained on it knows by heart, so it says more of it than of any new one.

    Args:
        run: to be served.
        foundation: see `open_foundation`.
        calibrations: of the run.
    """
    assert run.dataset.test is not None
    run.model.eval()
    events = some_events(run, run.dataset.test, run.config.seed)
    ladder, codes = climb(run, foundation, events, run.dataset.train)
    return Speculation(foundation_hash(foundation), codes, fit_adapter(ladder, calibrations))


def fit_adapter(ladder: Ladder, calibrations: Calibrations) -> Adapter:
    """Weights of least log loss on each rung, after the calibrations, which the service applies to the sum."""
    fitted = [[_chosen(_Events(values, ladder.served[:, task].astype(np.float64), ladder.labels[:, task]), task,
                       calibration) for task, calibration in enumerate(calibrations.of_task)]
              for values in (getattr(ladder, rung) for rung in RUNGS)]
    weights = np.array([[found for found, _ in of_rung] for of_rung in fitted], np.float32)
    bias = np.array([[found for _, found in of_rung] for of_rung in fitted], np.float32)
    return Adapter(np.ascontiguousarray(weights.transpose(0, 2, 1)), bias)


@dataclass(frozen=True, eq=False)
class _Events:
    """What stands for N events on one rung (N, T + D), and of one task the served logits (N,) and labels (N,)."""

    values: NDArray[np.float32]
    logits: NDArray[np.float64]
    labels: NDArray[np.integer]

    def where(self, chosen: NDArray[np.bool_]) -> _Events:
        return _Events(self.values[chosen], self.logits[chosen], self.labels[chosen])

    def loss(self, calibration: Calibration, added: NDArray[np.float64] | float) -> float:
        """Log loss with what is added to the logits (N,)."""
        log_odds = calibration(self.logits + added)
        return float((np.logaddexp(0.0, log_odds) - self.labels * log_odds).sum())


def _chosen(events: _Events, task: int, calibration: Calibration) -> tuple[NDArray[np.float64], float]:
    """Weights (T + D,) and bias by the prior whose fit to one half of the events says most of the other half.

    Nothing is added where no fit says more than the logits alone do, or the labels of a half are all the same.
    """
    early = np.arange(len(events.labels)) < len(events.labels) // 2
    halves = events.where(early), events.where(~early)
    nothing = np.zeros(events.values.shape[1]), 0.0
    if any(half.labels.min() == half.labels.max() for half in halves):
        return nothing
    losses = []
    for ridge in RIDGES:
        loss = 0.0
        for half, other in (halves, halves[::-1]):
            weights, bias = _fit(half, task, calibration, ridge)
            loss += other.loss(calibration, other.values @ weights + bias)
        losses.append(loss)
    if min(losses) >= events.loss(calibration, 0.0):
        return nothing
    return _fit(events, task, calibration, RIDGES[int(np.argmin(losses))])


def _fit(events: _Events, task: int, calibration: Calibration, ridge: float) -> tuple[NDArray[np.float64], float]:
    """Weights (T + D,) and bias that are added to the logits: a logistic regression within the calibration."""
    values = events.values
    mean, deviation = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64) + 1e-9
    x = (values - mean) / deviation
    priors = np.where(np.arange(values.shape[1]) == task, RIDGE, ridge)

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        added = x @ at[:-1] + at[-1]
        z = events.logits + added
        off = (sigmoid(calibration(z)) - events.labels) * calibration.slope(z)
        return (events.loss(calibration, added) + float((priors * at[:-1] ** 2).sum()) / 2,
                np.append(x.T @ off + priors * at[:-1], off.sum()))

    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    weights = found[:-1] / deviation
    return weights, float(found[-1] - mean @ weights)
