"""The upper bound: never below what can be won, and close to it where many requests share budgets."""

from itertools import product

import numpy as np
import pytest

from loadtest.pacing.bound import upper_bound


@pytest.mark.parametrize("seed", range(5))
def test_bound_is_not_below_the_best_choice_of_a_few_requests(seed):
    random = np.random.default_rng(seed)
    values, prices = random.integers(1, 10, (5, 3)).astype(float), random.integers(1, 10, (5, 3)).astype(float)
    campaigns, budgets = np.tile([0, 1, 2], (5, 1)), np.array([9.0, 7.0, np.inf])
    best = 0.0
    for choice in product(range(-1, 3), repeat=5):
        spent, won = np.zeros(3), 0.0
        for request, taken in enumerate(choice):
            if taken >= 0:
                spent[taken] += prices[request, taken]
                won += values[request, taken]
        if (spent <= budgets).all():
            best = max(best, won)
    assert best <= upper_bound(values, prices, campaigns, budgets, 1) <= values.max(axis=1).sum()


def test_bound_is_what_the_best_fractions_win_when_one_campaign_is_short_of_money():
    random = np.random.default_rng(0)
    values, prices = random.random((400, 1)) + 0.5, random.random((400, 1)) + 0.5
    budget = prices.sum() / 3
    order = np.argsort(-(values / prices)[:, 0])
    paid = np.cumsum(prices[order, 0])
    best = values[order, 0][paid <= budget].sum()
    assert upper_bound(values, prices, np.zeros((400, 1), int), np.array([budget]), 1) == pytest.approx(best, rel=0.01)
