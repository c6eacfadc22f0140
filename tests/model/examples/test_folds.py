"""Folds of users are even, and depend on the seed alone."""

import numpy as np

from model.examples.folds import FOLDS, fold_of_users


def test_folds_are_even_and_reproducible():
    fold = fold_of_users(101, seed=3)
    counts = np.bincount(fold, minlength=FOLDS)
    assert counts.max() - counts.min() <= 1
    assert np.array_equal(fold, fold_of_users(101, seed=3))
    assert not np.array_equal(fold, fold_of_users(101, seed=4))
