"""Slices: planted users and ads whose recall is known, and the whole as the mean of its parts."""

import numpy as np
import pytest

from index_store.features.ragged import Ragged
from model.data.recall_queries import RecallQueries
from model.evaluation.slices import slices

POPULARITY = np.array([0, 3, 3, 50, 500, 500])


def test_users_and_ads_are_counted_in_the_slice_that_holds_them():
    queries = RecallQueries(np.arange(3), Ragged.of([[0, 3], [4], [1, 5]]), Ragged.of([[], [1, 2], list(range(150))]))
    found = [np.array([3, 1, 0]), np.array([4]), np.array([0, 2])]
    result = slices(queries, found, POPULARITY, (1, 3))
    assert [(part["from"], part["to"], part["users"], part["recall@1"], part["recall@3"])
            for part in result["history"]] == [(0, 0, 1, 0.5, 1.0), (1, 4, 1, 1.0, 1.0), (100, None, 1, 0.0, 0.0)]
    assert result["popularity"] == [
        {"from": 0, "to": 0, "pairs": 1, "recall@1": 0.0, "recall@3": 1.0},
        {"from": 1, "to": 4, "pairs": 1, "recall@1": 0.0, "recall@3": 0.0},
        {"from": 20, "to": 99, "pairs": 1, "recall@1": 1.0, "recall@3": 1.0},
        {"from": 100, "to": None, "pairs": 2, "recall@1": 0.5, "recall@3": 0.5}]


def test_the_whole_is_the_mean_of_the_slices():
    rng = np.random.default_rng(0)
    targets = Ragged.of([rng.choice(40, rng.integers(1, 6), replace=False) for _ in range(60)])
    masked = Ragged.of([rng.integers(0, 40, rng.integers(0, 30)) for _ in range(60)])
    queries = RecallQueries(np.arange(60), targets, masked)
    found = [rng.permutation(40)[:10] for _ in range(60)]
    result, shares = slices(queries, found, rng.integers(0, 200, 40), (5, 10)), queries.shares_of(found, (5, 10))
    users = [part["users"] for part in result["history"]]
    assert sum(users) == 60
    for column, k in enumerate((5, 10)):
        mean = np.average([part[f"recall@{k}"] for part in result["history"]], weights=users)
        assert mean == pytest.approx(shares[:, column].mean())
    assert sum(part["pairs"] for part in result["popularity"]) == len(targets.values)
