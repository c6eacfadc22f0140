"""GF-CF against its filters as dense matrices."""

import numpy as np
from scipy import sparse

from model.data.recall_queries import RecallQueries
from model.experiments.gf_cf import WEIGHT, gf_cf_answers
from tests.model.worlds import lists

USERS, ITEMS = 60, 40


def test_gf_cf_is_the_dense_filter():
    """The two filters by dense matrices, with all singular vectors but the last, which a sparse solver cannot give."""
    dense = (np.random.default_rng(0).random((USERS, ITEMS)) < 0.2).astype(np.float64)
    users, items = np.maximum(dense.sum(axis=1), 1), np.maximum(dense.sum(axis=0), 1)
    rows = dense / np.sqrt(users[:, None] * items)
    vectors = np.linalg.svd(rows, full_matrices=False)[2][:ITEMS - 1]
    scores = dense @ rows.T @ rows + WEIGHT * (dense / np.sqrt(items)) @ vectors.T @ vectors * np.sqrt(items)
    scores[dense > 0] = -np.inf
    asked = np.arange(USERS)[::-1]
    queries = RecallQueries(asked, lists([[0]] * USERS), lists([np.flatnonzero(dense[user]) for user in asked]))
    found = gf_cf_answers(sparse.csr_matrix(dense.astype(np.float32)), queries, 5)
    assert [own.tolist() for own in found] == np.argsort(-scores[asked], axis=1)[:, :5].tolist()
