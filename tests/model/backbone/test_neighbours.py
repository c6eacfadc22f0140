"""Neighbour terms against dense matrices."""

import numpy as np
import pytest

from model.backbone.neighbours import ITEM_TERMS, USER_TERMS, Neighbours


def test_neighbour_terms_are_those_of_dense_matrices(split, tolerance=1e-4):
    train, dense = split.train, split.train.toarray().astype(np.float64)
    users, pairs = np.array([0, 7, 31]), np.maximum(dense.sum(axis=0), 1)
    wanted = []
    for term in ITEM_TERMS:
        rows = dense / np.maximum(dense.sum(axis=1, keepdims=True), 1)**term.user_power / np.sqrt(pairs)
        walk = rows.T @ rows
        np.fill_diagonal(walk, 0)
        wanted.append((dense[users] / pairs**term.item_power) @ walk**term.power * pairs**term.item_power)
    for term in USER_TERMS:
        rows = dense / pairs**term.item_power
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        similar = rows @ rows.T
        np.fill_diagonal(similar, 0)
        wanted.append((similar[users]**term.power @ dense) / pairs**term.damping)
    found = list(Neighbours(train).terms(users))
    assert len(found) == Neighbours.count
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine == pytest.approx(theirs, rel=tolerance, abs=tolerance)
