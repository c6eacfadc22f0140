"""Baselines for a log of impressions: a constant, and logistic regression on the fields of user and ad and the ad's id.

The logit is a sum of one weight a value: w_user · x_user + w_ad · x_ad + bias. Users and ads are therefore multiplied
once each, not once an impression.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize

from index_store.features.encoder import Features
from index_store.features.ragged import Ragged
from model.data.load import Dataset, Events

PENALTIES = (1000.0, 100.0, 10.0, 1.0)
"""L2 penalties on the sum of the log loss that are tried, strong to weak; a fit starts from the one before."""

HELD_OUT = 0.1
"""Share of the train impressions on which the penalty is chosen."""

ITERATIONS = 200


def normalized_entropy(logits: NDArray[np.float64], labels: NDArray[np.integer]) -> float | None:
    """Log loss over the entropy of the labels' own rate (Equation 9): logits (N,), labels (N,) of 0 and 1.

    Returns:
        None where all labels are the same.
    """
    rate = float(labels.mean())
    if rate in (0, 1):
        return None
    p = np.clip(_sigmoid(logits), 1e-7, 1 - 1e-7)
    loss = -np.where(labels == 1, np.log(p), np.log1p(-p)).mean()
    return float(loss / -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)))


def constant_ne(train: NDArray[np.integer], test: NDArray[np.integer]) -> float | None:
    """NE on test labels (M,) of predicting the rate of the train labels (N,) throughout."""
    rate = np.clip(train.mean(), 1e-7, 1 - 1e-7)
    return normalized_entropy(np.full(len(test), np.log(rate / (1 - rate))), test)


@dataclass(frozen=True)
class Design:
    """The fields as numbers.

    Attributes:
        users: (users, D) CSR float64: dense fields, and a column for each value of the others.
        items: (items, E) CSR float64, likewise, with a column for each ad.
    """

    users: Any
    items: Any

    @classmethod
    def of(cls, dataset: Dataset) -> Design:
        """The fields of a log."""
        items = sparse.hstack([_columns(dataset.items), sparse.identity(len(dataset.items))], format="csr")
        return cls(_columns(dataset.users), items)

    def logits(self, weights: NDArray[np.float64], events: Events) -> NDArray[np.float64]:
        """Logits (N,) of events, by weights (D + E + 1,)."""
        split = self.users.shape[1]
        of_users, of_items = self.users @ weights[:split], self.items @ weights[split:-1]
        found: NDArray[np.float64] = of_users[events.users] + of_items[events.items] + weights[-1]
        return found

    def gradient(self, residuals: NDArray[np.float64], events: Events) -> NDArray[np.float64]:
        """Gradient (D + E + 1,) from the derivative of the loss by each logit (N,)."""
        by_user = np.bincount(events.users, residuals, self.users.shape[0])
        by_item = np.bincount(events.items, residuals, self.items.shape[0])
        return np.concatenate([self.users.T @ by_user, self.items.T @ by_item, [residuals.sum()]])


def _columns(features: Features) -> Any:
    """Dense fields, flags of those that are missing, and a column for each value of other fields: (N, columns) CSR."""
    n = len(features)
    one_each = [Ragged.singles(features.categorical[:, at]) for at in range(features.categorical.shape[1])]
    missing = np.isnan(features.dense)
    flags = missing[:, missing.any(axis=0)]
    blocks = [sparse.csr_matrix(np.hstack([np.where(missing, 0, features.dense), flags]), dtype=np.float64)]
    for lists in (*one_each, *features.multi):
        size = int(lists.values.max(initial=0)) + 1
        blocks.append(sparse.csr_matrix((np.ones(len(lists.values)), lists.values, lists.indptr), shape=(n, size)))
    return sparse.hstack(blocks, format="csr")


def fit(design: Design, events: Events, labels: NDArray[np.integer], penalty: float,
        start: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Weights (D + E + 1,) of logistic regression, the bias last and not penalised.

    Args:
        design: the fields.
        events: N impressions.
        labels: (N,) of 0 and 1.
        penalty: L2 penalty on the sum of the log loss: half of it times the squared weights.
        start: weights to start from.
    """
    if start is None:
        start = np.zeros(design.users.shape[1] + design.items.shape[1] + 1)
        rate = np.clip(labels.mean(), 1e-7, 1 - 1e-7)
        start[-1] = np.log(rate / (1 - rate))

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = design.logits(weights, events)
        shrunk = penalty * weights
        shrunk[-1] = 0
        value = np.logaddexp(0, logits).sum() - logits[labels == 1].sum() + shrunk @ weights / 2
        slope = design.gradient(_sigmoid(logits) - labels, events) + shrunk
        return value / len(labels), slope / len(labels)

    found: NDArray[np.float64] = minimize(loss, start, method="L-BFGS-B", jac=True,
                                          options={"maxiter": ITERATIONS, "ftol": 1e-9}).x
    return found


def logistic_regression(dataset: Dataset, train: Events, test: Events, task: int, seed: int,
                        more: Callable[[], bool] = lambda: True) -> tuple[float | None, float]:
    """NE of a task on the test impressions, with the penalty chosen on a hold-out of the train impressions.

    Args:
        dataset: whose users and ads have the fields.
        train, test: impressions.
        task: column of the labels.
        seed: of the hold-out where the log has no order.
        more: whether there is time for one more penalty.

    Returns:
        NE, None where all test labels are the same, and the penalty.
    """
    design = Design.of(dataset)
    held = _held_out(train, seed, latest=dataset.spec.history_ordered)
    fitted, asked = train.where(~held), train.where(held)
    weights, reached = None, dict[float, float]()
    for penalty in PENALTIES:
        if reached and not more():
            break
        weights = fit(design, fitted, fitted.labels[:, task], penalty, weights)
        logits = design.logits(weights, asked)
        reached[penalty] = float(np.logaddexp(0, np.where(asked.labels[:, task] == 1, -logits, logits)).mean())
    chosen = min(reached, key=lambda penalty: reached[penalty])
    final = fit(design, train, train.labels[:, task], chosen, weights)
    return normalized_entropy(design.logits(final, test), test.labels[:, task]), chosen


def _held_out(events: Events, seed: int, *, latest: bool) -> NDArray[np.bool_]:
    """Which events (N,) to hold out: the latest of all, or random ones; at least one, never all of several."""
    order = events.timestamps if latest else np.random.default_rng([seed, 11]).random(len(events))
    held = np.zeros(len(events), bool)
    held[np.argsort(order, kind="stable")[-max(1, round(HELD_OUT * len(events))):]] = True
    return held


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
    return found
