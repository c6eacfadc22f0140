"""Co-click counts cover the given users only, and those that an example reads hold no trace of its label."""

import numpy as np
import torch

from index_store.features.interaction import item_features
from index_store.features.postings import ItemKeys
from index_store.features.tower_inputs import all_item_keys
from index_store.features.user_keys import user_keys
from model.examples.clicks import Clicks
from model.examples.folds import Fold, fold_of_pairs
from model.examples.key_index import key_index
from model.objective.losses import sampled_loss
from tests.model.worlds import positives, with_similar_users


def test_counts_use_the_given_clicks_only():
    data = positives()
    alone = key_index(data, Clicks.of(data.train.where(data.train.users == 0), 60))
    counted = alone.reach.values[alone.reach.indptr[alone.source_starts[1]]:] - alone.starts[1]
    assert len(counted) == 6 * 5
    assert set(counted - 1) == set(Clicks.of(data.train, 60).rows[:6].tolist())


def count_features(data, leaky):
    """Features of each train click and of 20 random other ads, as training makes them, or with the click counted."""
    everything = key_index(data, Clicks.of(data.train, len(data.user_ids)))
    fields = all_item_keys(data.spec, data.items)
    item_keys = ItemKeys.of(everything.families, everything.starts, fields)
    fold_of_event = fold_of_pairs(data.train, seed=0)
    rng = np.random.default_rng(0)
    features = []
    for number, fold in enumerate(Fold.all_of(data, data.train, fold_of_event)):
        chosen = np.flatnonzero(fold_of_event == number)
        users, own = data.train.users[chosen], data.train.items[chosen].astype(np.int64)
        index = everything if leaky else fold.index
        history = fold.clicks.histories(users)
        hits = user_keys(index, data.spec, data.users.take(users), history, fields)
        others = rng.integers(0, len(data.items), (len(chosen), 20))
        rows = np.concatenate([own[:, None], others], axis=1)
        of_keys = item_features(hits, item_keys, rows, np.zeros(index.n_keys, np.int32))
        spectral = index.spectral.queries(history).features(index.spectral.items, rows)
        features.append(np.concatenate([of_keys, spectral], axis=2))
    return np.concatenate(features)


def learned_gain(features):
    """How far a small net that sees only these features gets below the loss of a guess, in nats, in sample."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(features.shape[-1], 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    pairs = torch.from_numpy(features)
    for _ in range(150):
        logits = net(pairs)
        loss = sampled_loss(logits[:, :1], logits[:, 1:], torch.ones(len(pairs), 1, 1), torch.zeros(len(pairs), 20),
                            torch.zeros(len(pairs), 20, dtype=torch.bool), torch.ones(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return np.log(21) - loss.item()


def test_a_model_that_sees_only_counts_learns_nothing_from_a_log_of_noise(most_nats=0.05, leak_nats=0.5):
    noise = with_similar_users(positives(users=400, items=300, clicks=5, planted=False))
    assert learned_gain(count_features(noise, leaky=False)) < most_nats
    assert learned_gain(count_features(noise, leaky=True)) > leak_nats, "this test cannot see a leak"


def test_similar_users_read_the_given_clicks_only():
    data = with_similar_users(positives())
    alone = key_index(data, Clicks.of(data.train.where(data.train.users == 0), 60))
    assert alone.similar is not None
    assert np.flatnonzero(alone.similar.items.lengths).tolist() == [0]
    assert set(alone.similar.items.row(0) - 1) == set(Clicks.of(data.train, 60).rows[:6].tolist())
    assert key_index(positives(), Clicks.of(data.train, 60)).similar is None
