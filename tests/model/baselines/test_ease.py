"""EASE: its closed form by brute force, the condition of its optimum, and planted groups."""

import numpy as np
import pytest
from scipy.optimize import minimize

from model.baselines.ease import Ease
from tests.model.baselines.blocks import planted, share_in_own_group

PENALTY = 3.0


@pytest.fixture(scope="module")
def small():
    train, _, _ = planted(users=30, items=8, groups=2, clicks=3)
    return train.toarray().astype(np.float64), Ease.fit(train, PENALTY)


def test_the_map_minimises_its_loss_by_brute_force(small, tolerance=1e-4):
    X, fitted = small
    off = ~np.eye(8, dtype=bool)

    def loss(values):
        B = np.zeros((8, 8))
        B[off] = values
        return ((X - X @ B) ** 2).sum() + PENALTY * (B**2).sum()

    found = minimize(loss, np.zeros(off.sum()), tol=1e-12).x
    np.testing.assert_allclose(fitted.weights[off], found, atol=tolerance)
    assert not fitted.weights.diagonal().any()


def test_the_gradient_vanishes_off_the_diagonal(small, tolerance=2e-4):
    X, fitted = small
    gradient = X.T @ (X @ fitted.weights - X) + PENALTY * fitted.weights
    assert np.abs(gradient[~np.eye(8, dtype=bool)]).max() < tolerance
    assert np.abs(gradient.diagonal()).min() > 0.1  # what the constraint holds back


def test_scores_are_the_users_rows_times_the_map(small, tolerance=1e-5):
    X, fitted = small
    np.testing.assert_allclose(fitted.scores(np.array([4, 1])), X[[4, 1]] @ fitted.weights, atol=tolerance)


def test_it_finds_planted_groups():
    train, of_user, of_item = planted()
    assert share_in_own_group(Ease.fit(train, 10), train, of_user, of_item) == 1


def test_items_without_a_positive_are_fitted_too():
    train, _, _ = planted(items=60)
    padded = train.copy()
    padded.resize(train.shape[0], 63)
    assert not Ease.fit(padded, 10).weights[:, 60:].any()
