"""Regressed weights are those of a ridge regression on the neighbours, cut and turned around."""

import numpy as np
import pytest
from scipy import sparse

from index_store.features.ragged import Ragged
from model.examples import regression
from model.examples.regression import LEAST, PENALTY, regressed

ALL = 1000


def log(users=400, keys=30, seed=0):
    """Users who click one of five groups of keys more than others; every key's neighbours are twelve others."""
    rng = np.random.default_rng(seed)
    likes = rng.random((users, 5))[:, np.arange(keys) % 5] ** 4
    clicks = sparse.csr_matrix((rng.random((users, keys)) < likes).astype(np.float32))
    neighbours = Ragged.of([np.setdiff1d(rng.permutation(keys), [key])[:12].astype(np.int32) for key in range(keys)])
    return clicks, neighbours, (clicks.T @ clicks).toarray()


def counts_of(neighbours, gram):
    return gram[np.repeat(np.arange(len(neighbours)), neighbours.lengths), neighbours.values]


def dense(lists, weights, n):
    found = np.zeros((n, n))
    found[np.repeat(np.arange(n), lists.lengths), lists.values] = weights
    return found


def fitted(neighbours, gram):
    """Key by key, the positive weights of a ridge regression: (source, key)."""
    found = np.zeros_like(gram)
    for key in range(len(gram)):
        own = neighbours.row(key)
        found[own, key] = np.linalg.solve(gram[np.ix_(own, own)] + PENALTY * np.eye(len(own)), gram[own, key])
    return np.where(found > LEAST, found, 0)


def test_weights_are_the_positive_ones_of_a_ridge_regression():
    clicks, neighbours, gram = log()
    found = dense(*regressed(clicks, neighbours, counts_of(neighbours, gram), ALL), len(gram))
    assert found == pytest.approx(fitted(neighbours, gram), abs=1e-5)
    assert (found > 0).sum() > 100


def test_lists_of_unequal_lengths_and_batches_change_nothing(monkeypatch):
    monkeypatch.setattr(regression, "_BATCH", 4)
    monkeypatch.setattr(regression, "_BLOCK", 7)
    clicks, neighbours, gram = log()
    shorter = Ragged.of([neighbours.row(key)[:key % 7] for key in range(len(gram))])
    found = dense(*regressed(clicks, shorter, counts_of(shorter, gram), ALL), len(gram))
    assert found == pytest.approx(fitted(shorter, gram), abs=1e-5)


def test_long_lists_are_fitted_few_at_a_time_and_change_nothing(monkeypatch):
    solved, solve = [], np.linalg.solve
    monkeypatch.setattr(regression, "_CELLS", 3 * 12**2)
    monkeypatch.setattr(regression.np.linalg, "solve", lambda a, b: (solved.append(len(a)), solve(a, b))[1])
    clicks, neighbours, gram = log()
    found = dense(*regressed(clicks, neighbours, counts_of(neighbours, gram), ALL), len(gram))
    assert max(solved) == 3
    monkeypatch.undo()
    assert found == pytest.approx(fitted(neighbours, gram), abs=1e-5)


def test_a_list_is_strongest_first():
    clicks, neighbours, gram = log()
    lists, weights = regressed(clicks, neighbours, counts_of(neighbours, gram), ALL)
    for key in range(len(gram)):
        own = weights[lists.indptr[key]:lists.indptr[key + 1]]
        assert (np.diff(own) <= 0).all()


def test_a_key_speaks_for_so_many_keys_at_most_and_those_are_the_strongest():
    clicks, neighbours, gram = log()
    counts = counts_of(neighbours, gram)
    all_weights = dense(*regressed(clicks, neighbours, counts, ALL), len(gram))
    lists, weights = regressed(clicks, neighbours, counts, 3)
    assert lists.lengths.max() == 3
    for key, row in enumerate(all_weights):
        own = weights[lists.indptr[key]:lists.indptr[key + 1]]
        assert own == pytest.approx(np.sort(row)[::-1][:len(own)])


def test_a_link_through_another_ad_counts_less_than_one_of_its_own():
    rng = np.random.default_rng(1)
    middle = rng.random(5000) < 0.3
    first, last = (rng.random(5000) < np.where(middle, 0.9, 0.02) for _ in range(2))
    clicks = sparse.csr_matrix(np.stack([first, middle, last], axis=1).astype(np.float32))
    gram, everyone = (clicks.T @ clicks).toarray(), Ragged.of([[1, 2], [0, 2], [0, 1]])
    found = dense(*regressed(clicks, everyone, counts_of(everyone, gram), ALL), 3)
    assert gram[0, 2] > 0.8 * gram[1, 2]
    assert found[0, 2] < 0.5 * found[1, 2]


def test_rarely_clicked_keys_are_taken_as_unrelated_or_alone(monkeypatch):
    clicks, neighbours, gram = log()
    counts, popularity = counts_of(neighbours, gram), np.diag(gram)
    common = np.argsort(-popularity, kind="stable")[:10]
    monkeypatch.setattr(regression, "COMMON", 10)
    known = np.zeros_like(gram)
    known[np.ix_(common, common)] = gram[np.ix_(common, common)]
    np.fill_diagonal(known, popularity)
    expected = np.zeros_like(gram)
    for key in range(len(gram)):
        own = neighbours.row(key)
        expected[own, key] = np.linalg.solve(known[np.ix_(own, own)] + PENALTY * np.eye(len(own)), gram[own, key])
    assert dense(*regressed(clicks, neighbours, counts, ALL), len(gram)) == pytest.approx(
        np.where(expected > LEAST, expected, 0), abs=1e-5)
    monkeypatch.setattr(regression, "REGRESSED", 0)
    alone = dense(*regressed(clicks, neighbours, counts, ALL), len(gram))
    own = neighbours.row(3)
    assert alone[own, 3] == pytest.approx(gram[own, 3] / (popularity[own] + PENALTY), rel=1e-5)


def test_a_log_without_co_clicks_has_empty_lists():
    nothing = sparse.csr_matrix((3, 4), dtype=np.float32)
    lists, weights = regressed(nothing, Ragged.of([[]] * 4), np.empty(0, np.float32), ALL)
    assert (len(lists), len(lists.values), len(weights)) == (4, 0, 0)
