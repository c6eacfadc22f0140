"""Publishes where the campaigns with budgets stand."""

from __future__ import annotations

import time

from index_store.budgets.campaign import NANOS
from index_store.budgets.gates import Gates
from index_store.budgets.pacing import UNLIMITED
from service.telemetry import metrics

_UNIT = 1_000_000 * NANOS


def publish_budgets(gates: Gates) -> None:
    """Sets the metrics; the sums are over all campaigns with budgets, each in its own local day."""
    tick = gates.tick(time.time())
    budgeted = tick.pacing.budget != UNLIMITED
    n = int(budgeted.sum())
    metrics.CAMPAIGNS.set(n)
    metrics.CAMPAIGNS_CLOSED.set(int(tick.pacing.closed.sum()))
    metrics.PASS_PROBABILITY.set(float(tick.probability[budgeted].mean()) if n else 1.0)
    metrics.SPENT.set(float(tick.pacing.spent[budgeted].sum(dtype=float)) / _UNIT)
    metrics.BUDGET.set(float(tick.pacing.budget[budgeted].sum(dtype=float)) / _UNIT)
