"""Test events: the latest, each user's latest, or random pairs."""

import numpy as np
import pyarrow as pa
import pytest

from model.infer.reading import read_frames
from model.infer.time_split import find_split

N = 500


def split(users, times, positive=None, *, timed=True, history=True):
    log = read_frames({"events": pa.table({"n": [1]})})
    log.con.execute("SELECT 1").fetchall()
    log.con.register("frame", pa.table({
        "user_id": [str(u) for u in users], "ad_id": [str(n % 7) for n in range(len(users))], "timestamp": times,
        "row": np.arange(len(users)), "positive": np.ones(len(users), bool) if positive is None else positive}))
    log.con.execute("CREATE TABLE log_events AS SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY timestamp "
                    "DESC,"
                    " row DESC) AS place, count(*) OVER (PARTITION BY user_id) AS n FROM frame")
    where, guess = find_split(log, timed=timed, history=history)
    return np.array([bool(row[0]) for row in log.con.execute(
        f"SELECT {where} FROM log_events ORDER BY row").fetchall()]), guess


def test_the_latest_tenth_is_held_out_where_its_users_have_a_history():
    users = np.random.default_rng(0).integers(0, 20, N)
    held, guess = split(users, np.arange(N))
    assert held.tolist() == [False] * 449 + [True] * 51
    assert guess.value == "the latest 10%"


def test_each_users_latest_are_held_out_where_users_come_and_go():
    users = np.repeat(np.arange(50), 10)
    held, guess = split(users, np.arange(N))
    assert held.reshape(50, 10).sum(axis=1).tolist() == [1] * 50
    assert held.reshape(50, 10)[:, -1].all()
    assert "would test users without a history" in guess.why


def test_the_latest_are_held_out_without_user_ids_whoever_they_are():
    assert split(np.arange(N), np.arange(N), history=False)[1].value == "the latest 10%"


@pytest.mark.parametrize(("times", "timed"), [(np.zeros(N, int), False), (np.repeat([1, 2], [50, N - 50]), True)])
def test_random_pairs_are_held_out_without_an_order(times, timed):
    users = np.random.default_rng(0).integers(0, 20, N)
    held, guess = split(users, times, timed=timed)
    pairs = users * 7 + np.arange(N) % 7
    assert 0 < held.mean() < 0.25
    assert not set(pairs[held]) & set(pairs[~held])
    assert guess.value.startswith("random pairs")


def test_nothing_is_held_out_of_a_log_that_is_too_small():
    held, guess = split([1], [5])
    assert (held.tolist(), guess.value) == ([False], "none")


def test_train_and_test_both_keep_positives_and_negatives():
    positive = np.zeros(N, bool)
    positive[:30] = True
    held, _ = split(np.random.default_rng(0).integers(0, 20, N), np.arange(N), positive)
    assert positive[held].any()
    assert positive[~held].any()
    assert (~positive[~held]).any()
