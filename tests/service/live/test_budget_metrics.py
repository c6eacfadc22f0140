"""Metrics of budgets: sums and means over the campaigns that have one."""

import time

import pytest
from prometheus_client import REGISTRY

from index_store.budgets.gates import Gates
from index_store.budgets.live_budgets import LiveBudgets
from index_store.budgets.pacing import FIRST
from service.live.budget_metrics import publish_budgets
from tests.index_store.budgets.spending import UNIT, campaign, campaign_ads, spent


def published():
    return [REGISTRY.get_sample_value(f"retrieval_{name}") for name in (
        "campaigns", "campaigns_closed", "pass_probability", "spent_today", "budget_today")]


def test_sums_and_means_are_over_campaigns_with_budgets(monkeypatch):
    now = time.time()
    monkeypatch.setattr("service.live.budget_metrics.time.time", lambda: now)  # within one tick
    budgets = LiveBudgets().with_changes([
        campaign("c0", 2.0, at=now), campaign("c1", 3.0, at=now), campaign("c2", None, at=now),
        spent("c0", 2 * UNIT, now), spent("c1", UNIT, now), spent("c2", UNIT, now)])
    publish_budgets(Gates(budgets=budgets, ads=campaign_ads(["c0", "c1", "c2"], ["c0"])))
    assert published() == [2, 1, pytest.approx(FIRST / 2), 3.0, 5.0]
    publish_budgets(Gates(budgets=LiveBudgets(), ads=campaign_ads([], [None])))
    assert published() == [0, 0, 1.0, 0, 0]
