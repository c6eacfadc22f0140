"""Histories and counts of training examples: right, and without a trace of the label."""

import numpy as np
import pytest
import torch

from index_store.features.interaction import item_features
from index_store.features.postings import ItemKeys
from index_store.features.ragged import Ragged
from index_store.features.tower_inputs import all_item_keys
from index_store.features.user_keys import user_keys
from model.data.load import Events
from model.examples.co_click import SHRINKAGE, co_click
from model.examples.moments import FOLDS, Clicks, Moments, fold_of_users, key_index
from model.training.losses import sampled_loss
from tests.model.worlds import lists, positives


def random_clicks(rng, users=20):
    per_user = [sorted(rng.integers(0, 9, rng.integers(0, 7)).tolist()) for _ in range(users)]
    rows = [rng.integers(0, 12, len(times)).tolist() for times in per_user]
    flat = Ragged.of([np.array(r, np.int32) for r in rows])
    times = np.array([t for times in per_user for t in times], np.int64)
    return Clicks(flat.indptr, flat.values, times), per_user, rows


@pytest.mark.parametrize("length", [1, 3, 50])
def test_histories_equal_a_slow_reference(length):
    rng = np.random.default_rng(length)
    clicks, times, rows = random_clicks(rng)
    users, before = rng.integers(0, 20, 200), rng.integers(-1, 11, 200)
    without = rng.integers(0, 12, 200)
    early = clicks.histories(users, length, before=before.astype(np.int64))
    others = clicks.histories(users, length, without=without)
    for n, user in enumerate(users):
        seen = [row for row, time in zip(rows[user], times[user], strict=True) if time < before[n]]
        assert early.row(n).tolist() == seen[::-1][:length]
        kept = [row for row in rows[user][::-1][:length + 1] if row != without[n]]
        assert others.row(n).tolist() == kept[:length]


def test_histories_are_right_when_times_are_nanoseconds_of_a_year():
    # User x span of the log does not fit 64 bits.
    users, year = 1_000, 365 * 24 * 3600 * 10**9
    start = 1_700_000_000 * 10**9
    times = np.tile([start, start + 1, start + year], users)
    clicks = Clicks(np.arange(0, 3 * users + 1, 3), np.tile(np.arange(3, dtype=np.int32), users), times)
    found = clicks.histories(np.arange(users), 5, before=np.full(users, start + 2))
    assert np.array_equal(found.values.reshape(users, 2), np.tile([1, 0], (users, 1)))


def test_moments_share_a_history_between_two_clicks():
    users = np.array([0, 0, 0, 0, 0, 1], np.int32)
    times = np.array([1, 2, 3, 3, 4, 1], np.int64)
    labels = np.array([[0], [1], [0], [0], [0], [0]], np.int8)
    log = Events(users, np.arange(6, dtype=np.int32), times, labels)
    spec = positives().spec
    spec = type(spec)(**{**vars(spec), "negatives": "impressions", "history_ordered": True})
    moments = Moments.of(spec, log, Clicks.of(log, 2), most=2)
    assert [moments.events.row(m).tolist() for m in range(len(moments.users))] == [[0, 1], [2, 3], [4], [5]]
    assert moments.before.tolist() == [1, 3, 4, 1]


def test_batches_cover_every_moment_once_and_never_mix_folds():
    data = positives()
    clicks = Clicks.of(data.train, 60)
    fold = fold_of_users(60, seed=0)
    moments = Moments.of(data.spec, data.train, clicks, 16)
    batches = list(moments.batches(fold, 7, np.random.default_rng(0)))
    assert sorted(np.concatenate([chosen for _, chosen in batches])) == list(range(len(data.train.users)))
    assert all((fold[moments.users[chosen]] == f).all() and len(chosen) <= 7 for f, chosen in batches)


def test_co_click_equals_a_slow_reference(tolerance=1e-6):
    rng = np.random.default_rng(3)
    histories = lists([rng.permutation(10)[: rng.integers(0, 6)].tolist() for _ in range(40)])
    keys = lists([[n + 1] for n in range(10)])
    neighbours, weights = co_click(histories, keys, 11, neighbours=4)
    has = np.zeros((40, 11))
    for u in range(40):
        has[u, histories.row(u) + 1] = 1
    counts = has.T @ has
    popularity = counts.diagonal().copy()
    np.fill_diagonal(counts, 0)
    expected = counts / (np.sqrt(np.outer(popularity, popularity)) + SHRINKAGE)
    for key in range(11):
        order = np.lexsort((np.arange(11), -expected[key]))[:4]
        order = order[expected[key, order] > 0]
        assert neighbours.row(key).tolist() == order.tolist()
        found = weights[neighbours.indptr[key]:neighbours.indptr[key + 1]]
        assert np.allclose(found, expected[key, order], atol=tolerance)


def test_a_field_key_is_its_own_neighbour_for_those_who_clicked_two_of_it():
    keys = lists([[1], [1], [2]])
    neighbours, weights = co_click(lists([[0, 1], [0], [2]]), keys, 3, neighbours=5)
    assert neighbours.row(1).tolist() == [1]
    assert weights[0] == pytest.approx(1 / (2 + SHRINKAGE))
    assert neighbours.row(2).tolist() == []


def count_features(data, leaky):
    """Features of each train click and of 20 random other ads, as training makes them, or with the click left in."""
    clicks = Clicks.of(data.train, len(data.user_ids))
    fold = fold_of_users(len(data.user_ids), seed=0)
    everyone, fields = key_index(data, clicks, np.arange(len(data.user_ids))), all_item_keys(data.spec, data.items)
    item_keys = ItemKeys.of(everyone.families, everyone.starts, fields)
    rng = np.random.default_rng(0)
    features = []
    for f in range(FOLDS):
        chosen = np.flatnonzero(fold[data.train.users] == f)
        users, own = data.train.users[chosen], data.train.items[chosen].astype(np.int64)
        index = everyone if leaky else key_index(data, clicks, np.flatnonzero(fold != f))
        history = clicks.histories(users, 50, without=own)
        hits = user_keys(index, data.spec, data.users.take(users), history, fields)
        others = rng.integers(0, len(data.items), (len(chosen), 20))
        rows = np.concatenate([own[:, None], others], axis=1)
        features.append(item_features(hits, item_keys, rows, np.zeros(index.n_keys, np.int32)))
    return np.concatenate(features)


def learned_gain(features):
    """How far a small net that sees only these features gets below the loss of a guess, in nats, in sample."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(features.shape[-1], 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    pairs = torch.from_numpy(features)
    for _ in range(150):
        logits = net(pairs)
        loss = sampled_loss(logits[:, 0], logits[:, 1:], torch.ones(len(pairs), 1), torch.zeros(len(pairs), 20),
                            torch.zeros(len(pairs), 20, dtype=torch.bool), torch.ones(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return np.log(21) - loss.item()


def test_a_model_that_sees_only_counts_learns_nothing_from_a_log_of_noise(most_nats=0.05, leak_nats=0.5):
    noise = positives(users=400, items=300, clicks=5, planted=False)
    assert learned_gain(count_features(noise, leaky=False)) < most_nats
    assert learned_gain(count_features(noise, leaky=True)) > leak_nats, "this test cannot see a leak"
