"""Item cosine against a dense computation, and planted groups."""

import numpy as np
import pytest

from model.baselines import item_cosine
from model.baselines.item_cosine import ItemCosine
from tests.model.baselines.blocks import planted, share_in_own_group


def dense_scores(train, shrinkage, neighbours):
    X = train.toarray().astype(np.float64)
    norms = np.maximum(np.linalg.norm(X, axis=0), 1)
    cosines = X.T @ X / (np.outer(norms, norms) + shrinkage)
    np.fill_diagonal(cosines, 0)
    for item in range(len(cosines)):  # the neighbours of the candidate, ties to the lower row
        order = np.lexsort((np.arange(len(cosines)), -cosines[:, item].astype(np.float32)))
        cosines[order[neighbours:], item] = 0
    return X @ cosines


@pytest.mark.parametrize("neighbours", [2, 5, 200])
@pytest.mark.parametrize(("block", "shrinkage"), [(7, 0), (512, 0), (7, 10)])
def test_scores_are_those_of_a_dense_computation(monkeypatch, block, shrinkage, neighbours, tolerance=1e-5):
    monkeypatch.setattr(item_cosine, "_BLOCK", block)
    train, _, _ = planted(seed=3, groups=2, items=20, clicks=5)
    fitted = ItemCosine.fit(train, shrinkage, neighbours)
    assert np.diff(fitted.similar.tocsc().indptr).max() <= neighbours
    users = np.array([5, 0, 70])
    np.testing.assert_allclose(fitted.scores(users), dense_scores(train, shrinkage, neighbours)[users], atol=tolerance)


def test_it_finds_planted_groups():
    train, of_user, of_item = planted()
    assert share_in_own_group(ItemCosine.fit(train), train, of_user, of_item) == 1
