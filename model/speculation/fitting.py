"""Fits autoencoder and adapter of a served model to a foundation model, on events that neither has learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from index_store.speculation.adapter import RUNGS, Adapter, Speculation
from model.speculation.foundation import foundation_hash
from model.speculation.ladder import Ladder, climb, some_events
from model.training.run import Run

RIDGE = 20.0
"""Prior of the weight of a task's own residual, which all pairs have in common."""

RIDGES = (20.0, 200.0, 2_000.0, 20_000.0, 1e9)
"""Priors of all other weights to choose from, of standardised values, in units of one event's loss; the last one leaves
them at nothing."""


def fit_speculation(run: Run, foundation: Sequence[Run]) -> Speculation:
    """Fits on the events that both runs hold out, or else the test events.

    A pair that the foundation model was trained on it knows by heart, so it says more of it than of any new one.

    Args:
        run: to be served.
        foundation: see `open_foundation`.
    """
    assert run.dataset.test is not None
    run.model.eval()
    events = some_events(run, run.dataset.test, run.config.seed)
    ladder, codes = climb(run, foundation, events, run.dataset.train)
    return Speculation(foundation_hash(foundation), codes, fit_adapter(ladder))


def fit_adapter(ladder: Ladder) -> Adapter:
    """Weights of least log loss on each rung."""
    tasks = range(ladder.labels.shape[1])
    fitted = [[_chosen(values, ladder.served[:, task], ladder.labels[:, task], task) for task in tasks]
              for values in (getattr(ladder, rung) for rung in RUNGS)]
    weights = np.array([[found for found, _ in of_rung] for of_rung in fitted], np.float32)
    bias = np.array([[found for _, found in of_rung] for of_rung in fitted], np.float32)
    return Adapter(np.ascontiguousarray(weights.transpose(0, 2, 1)), bias)


def _chosen(values: NDArray[np.float32], logits: NDArray[np.float32], labels: NDArray[np.integer],
            task: int) -> tuple[NDArray[np.float64], float]:
    """Weights (T + D,) and bias by the prior whose fit to one half of the events says most of the other half.

    Nothing is added where no fit says more than the logits alone do, or the labels (N,) of a half are all the same.
    """
    halves = np.arange(len(labels)) < len(labels) // 2
    if any(labels[half].min() == labels[half].max() for half in (halves, ~halves)):
        return np.zeros(values.shape[1]), 0.0
    losses = []
    for ridge in RIDGES:
        loss = 0.0
        for half in (halves, ~halves):
            weights, bias = _fit(values[half], logits[half], labels[half], task, ridge)
            z = logits[~half] + values[~half] @ weights + bias
            loss += float((np.logaddexp(0.0, z) - labels[~half] * z).sum())
        losses.append(loss)
    if min(losses) >= float((np.logaddexp(0.0, logits) - labels * logits).sum(dtype=np.float64)):
        return np.zeros(values.shape[1]), 0.0
    return _fit(values, logits, labels, task, RIDGES[int(np.argmin(losses))])


def _fit(values: NDArray[np.float32], logits: NDArray[np.float32], labels: NDArray[np.integer], task: int,
         ridge: float) -> tuple[NDArray[np.float64], float]:
    """Weights (T + D,) and bias that are added to logits (N,) by values (N, T + D): a logistic regression."""
    mean, deviation = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64) + 1e-9
    x, offset, y = (values - mean) / deviation, logits.astype(np.float64), labels.astype(np.float64)
    priors = np.where(np.arange(values.shape[1]) == task, RIDGE, ridge)

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = offset + x @ at[:-1] + at[-1]
        off = 0.5 * (1 + np.tanh(z / 2)) - y
        return (float((np.logaddexp(0.0, z) - y * z).sum() + (priors * at[:-1] ** 2).sum() / 2),
                np.append(x.T @ off + priors * at[:-1], off.sum()))

    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    weights = found[:-1] / deviation
    return weights, float(found[-1] - mean @ weights)
