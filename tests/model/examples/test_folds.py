"""Folds are even, depend on the seed alone, and hide exactly their own pairs."""


import numpy as np
import torch
from threadpoolctl import threadpool_limits

from model.data.load import Events
from model.examples.folds import FOLDS, Fold, fold_of_pairs, fold_of_users
from tests.model.worlds import positives


def test_folds_of_users_are_even_and_reproducible():
    fold = fold_of_users(101, seed=3)
    counts = np.bincount(fold, minlength=FOLDS)
    assert counts.max() - counts.min() <= 1
    assert np.array_equal(fold, fold_of_users(101, seed=3))
    assert not np.array_equal(fold, fold_of_users(101, seed=4))


def test_the_pairs_of_a_user_are_spread_evenly_and_events_of_a_pair_stay_together():
    rng = np.random.default_rng(0)
    users = np.sort(rng.integers(0, 30, 900)).astype(np.int32)
    log = Events(users, rng.integers(0, 25, 900).astype(np.int32), np.arange(900), np.ones((900, 1), np.int8))
    fold = fold_of_pairs(log, seed=1)
    first_folds = set()
    for user in range(30):
        own = {}
        for item, number in zip(log.items[users == user], fold[users == user], strict=True):
            assert own.setdefault(item, number) == number
        counts = np.bincount(list(own.values()), minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
        first_folds.add(int(np.argmax(counts)))
    assert len(first_folds) > 1, "the larger folds of the users differ"
    assert np.array_equal(fold, fold_of_pairs(log, seed=1))
    assert not np.array_equal(fold, fold_of_pairs(log, seed=2))


def test_a_fold_holds_the_clicks_of_the_others():
    data = positives()
    fold = fold_of_pairs(data.train, seed=0)
    for number, own in enumerate(Fold.all_of(data, data.train, fold)):
        for user in range(60):
            held = (fold == number) & (data.train.users == user)
            kept = (fold != number) & (data.train.users == user)
            assert set(own.clicks.by_user.row(user)) == set(data.train.items[kept])
            assert not set(own.clicks.by_user.row(user)) & set(data.train.items[held])


def test_folds_are_the_same_when_two_are_counted_at_a_time():
    data, before = positives(), torch.get_num_threads()
    fold = fold_of_pairs(data.train, seed=0)
    try:
        torch.set_num_threads(1)
        with threadpool_limits(1, "blas"):
            alone = list(Fold.all_of(data, data.train, fold))
        torch.set_num_threads(2)
        together = list(Fold.all_of(data, data.train, fold))
    finally:
        torch.set_num_threads(before)
    for one, two in zip(alone, together, strict=True):
        assert np.array_equal(one.clicks.rows, two.clicks.rows)
        assert one.index.weights.tobytes() == two.index.weights.tobytes()
        assert one.index.spectral.items.values.tobytes() == two.index.spectral.items.values.tobytes()
