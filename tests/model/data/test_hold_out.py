"""What a hold-out moves from the train set to the test set."""

from dataclasses import replace

import numpy as np
import pytest

from model.data.hold_out import hold_out
from model.data.load import Events
from model.data.tables import DataError
from tests.model.data.late_labels import late
from tests.model.worlds import impressions, positives


def ordered(data, counts):
    """The log with an order, and `counts` events of each of its first users at ascending times."""
    users = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    items = np.concatenate([np.arange(count) for count in counts]).astype(np.int32)
    train = Events(users, items, items.astype(np.int64), np.ones((len(users), 1), np.int8))
    return replace(data, spec=replace(data.spec, history_ordered=True), train=train)


def test_held_out_events_leave_the_train_set():
    data = positives()
    cut = hold_out(data, 0.25, seed=1)
    pairs = [set(zip(e.users.tolist(), e.items.tolist(), strict=True)) for e in (cut.train, cut.test, data.train)]
    assert pairs[0] | pairs[1] == pairs[2]
    assert not pairs[0] & pairs[1]
    assert len(pairs[1]) == pytest.approx(0.25 * len(pairs[2]), rel=0.3)
    assert np.array_equal(hold_out(data, 0.0, seed=1).train.items, data.train.items)


def test_all_events_of_a_pair_are_held_out_together():
    data = positives()
    twice = replace(data, train=Events(*(np.repeat(column, 2, axis=0) for column in vars(data.train).values()
                                          if isinstance(column, np.ndarray))))
    cut = hold_out(twice, 0.25, seed=1)
    pairs = [set(zip(e.users.tolist(), e.items.tolist(), strict=True)) for e in (cut.train, cut.test)]
    assert not pairs[0] & pairs[1]
    assert len(cut.test) == 2 * len(pairs[1])


def test_an_ordered_log_of_positives_loses_each_users_latest_and_keeps_one_at_least():
    cut = hold_out(ordered(positives(), [1, 2, 10]), 0.9, seed=0)
    assert np.bincount(cut.train.users).tolist() == [1, 1, 1]
    assert cut.train.items.tolist() == [0, 0, 0]


def test_short_histories_lose_their_share_on_average():
    held = hold_out(ordered(positives(users=1000), [3] * 1000), 0.2, seed=0).test
    assert np.bincount(held.users).max() == 1
    assert set(held.items.tolist()) == {2}
    assert len(held) == pytest.approx(600, abs=60)


def test_an_ordered_log_of_impressions_loses_the_latest_of_all():
    data = impressions()
    shuffled = replace(data, train=replace(data.train, timestamps=np.random.default_rng(0).permutation(720)))
    cut = hold_out(shuffled, 0.1, seed=0)
    assert len(cut.test) == 72
    assert cut.test.timestamps.min() > cut.train.timestamps.max()


def test_a_log_without_user_ids_loses_the_latest_of_all():
    data = ordered(positives(), [1] * 60)
    times = np.random.default_rng(0).permutation(60)
    data = replace(data, spec=replace(data.spec, user_ids=False), train=replace(data.train, timestamps=times))
    cut = hold_out(data, 0.1, seed=0)
    assert (len(cut.test), cut.test.timestamps.min()) == (6, 54)


def test_events_of_one_time_are_held_out_at_random():
    data = impressions()
    cut = hold_out(replace(data, train=replace(data.train, timestamps=np.zeros(720, np.int64))), 0.1, seed=0)
    assert len(cut.test) == 72
    assert len(np.unique(cut.test.users)) > 30


def test_late_labels_are_held_out_where_they_are_known_and_learned_as_they_were_then():
    data = late((10, 50), delay=lambda rows: 45 + rows % 10)
    cut = hold_out(data, 0.2, seed=0)
    log, now = data.train, data.windows.now
    assert len(cut.test) == pytest.approx(0.2 * len(log), abs=1)
    assert cut.test.timestamps.max() == now - 50
    assert cut.train.timestamps.max() == cut.windows.now < cut.test.timestamps.min()
    assert np.array_equal(cut.test.labels[:, 1], (cut.test.delays[:, 0] >= 0) & (cut.test.delays[:, 0] <= 50))
    came = cut.train.timestamps + cut.train.delays[:, 0]
    assert (came[cut.train.labels[:, 1] == 1] <= cut.windows.now).all()
    assert cut.train.labels[:, 1].sum() < log.labels[log.timestamps <= cut.windows.now, 1].sum()


def test_half_of_the_events_whose_windows_have_closed_are_held_out_at_most():
    data = late((10, 620))
    cut = hold_out(data, 0.2, seed=0)
    assert data.windows.closed(data.train.timestamps).sum() == 100
    assert (len(cut.train), len(cut.test)) == (50, 50)


def test_windows_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(DataError, match="the longest window has closed for 1 of the 720 train events, of which"):
        hold_out(late((10, 719)), 0.2, seed=0)
