"""The hold-out of train: a fifth of some users' positives, the latest or random ones, of nobody all."""

import numpy as np
import pytest

from model.baselines import hold_out
from model.baselines.hold_out import HoldOut
from model.baselines.popularity import Popularity
from model.data.load import Events


def log(clicks):
    """Users with as many clicks each, on items 0, 1, 2 … in this order of time, and an impression without a click."""
    users = np.repeat(np.arange(len(clicks)), np.array(clicks) + 1)
    items = np.concatenate([np.arange(n + 1) for n in clicks])
    labels = np.concatenate([np.arange(n + 1) < n for n in clicks]).astype(np.int8)
    return Events(users.astype(np.int32), items.astype(np.int32), items.astype(np.int64), labels[:, None])


CLICKS = [1, 2, 10, 5, 0, 20]


@pytest.mark.parametrize("latest", [True, False])
def test_a_fifth_is_held_out_and_the_rest_is_train(latest):
    held = HoldOut.of(log(CLICKS), 6, 21, seed=0, latest=latest)
    taken = dict(zip(held.queries.users.tolist(), held.queries.targets.lengths.tolist(), strict=True))
    assert taken == {1: 1, 2: 2, 3: 1, 5: 4}
    assert np.diff(held.train.indptr).tolist() == [1, 1, 8, 4, 0, 16]
    for place, user in enumerate(held.queries.users):
        items = held.queries.targets.row(place).tolist()
        assert not held.train[user].toarray()[0, items].any()
        assert not latest or items == list(range(CLICKS[user]))[-len(items):]
    assert latest or any(held.queries.targets.row(place)[0] < 10 for place in range(4) if taken[5] == 4)


def test_random_ones_are_drawn_anew_with_another_seed():
    drawn = [HoldOut.of(log([50]), 1, 51, seed, latest=False).queries.targets.row(0).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_no_more_users_than_enough_are_asked(monkeypatch):
    monkeypatch.setattr(hold_out, "USERS", 2)
    assert len(HoldOut.of(log(CLICKS), 6, 21, seed=0, latest=True).queries.users) == 2


def test_recall_is_the_mean_at_both_cut_offs():
    held = HoldOut.of(log(CLICKS), 6, 21, seed=0, latest=True)
    assert held.recall(Popularity.fit(held.train)) == 1  # 20 of 21 items are shown
    nobody = HoldOut.of(log([1, 1]), 2, 21, seed=0, latest=True)
    assert nobody.recall(Popularity.fit(nobody.train)) == 0
