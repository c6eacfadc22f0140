"""What stands for held-out pairs on each rung, and the autoencoder."""

import numpy as np

from model.speculation import ladder as module
from model.speculation.ladder import climb, fitted_codes, some_events


def test_the_autoencoder_keeps_what_few_directions_hold(monkeypatch):
    monkeypatch.setattr(module, "COMPONENTS", 2)
    random = np.random.default_rng(0)
    embeddings = (random.normal(size=(400, 2)) @ random.normal(size=(2, 10)) + 5).astype(np.float32)
    residuals = random.normal(size=(400, 1)).astype(np.float32)
    codes = fitted_codes(residuals, embeddings)
    decoded = codes.decoded(codes.encoded(residuals, embeddings))
    again = decoded[:, 1:] @ codes.axes.T + codes.mean
    assert np.abs(again - embeddings).mean() < 0.02 * embeddings.std()
    assert np.abs(decoded[:, :1] - residuals).mean() < 0.02


def test_the_rung_of_the_user_is_the_mean_of_proposals_without_the_pair_itself(served, foundation, monkeypatch):
    monkeypatch.setattr(module, "PROPOSED", 70)
    events = served.dataset.test
    found, codes = climb(served, [foundation], events, served.dataset.train)
    steps = codes.steps[:2]
    within = np.clip(found.foundation - found.served, -127 * steps, 127 * steps)
    np.testing.assert_allclose(found.pair[:, :2], within, atol=steps.max() / 2 * 1.01)
    rows, values = module._proposed(served, [foundation], served.clicks, np.unique(events.users), codes)
    for at in (0, len(events) // 2, len(events) - 1):
        owner = np.searchsorted(np.unique(events.users), events.users[at])
        others = rows[owner] != events.items[at]
        np.testing.assert_allclose(found.user[at], values[owner][others].mean(axis=0), atol=1e-4)
    assert (rows == events.items[0]).any(), "the pair itself is among so many proposals of somebody"


def test_an_autoencoder_that_is_given_is_used(served, foundation):
    _, codes = climb(served, [foundation], served.dataset.test, served.dataset.train)
    found, same = climb(served, [foundation], served.dataset.test, served.dataset.train, codes)
    assert same is codes
    assert len(found.labels) == len(served.dataset.test)


def test_events_of_as_many_users_as_asked_are_taken(served, monkeypatch):
    events = served.dataset.test
    assert some_events(served, events, 0) is events
    monkeypatch.setattr(module, "MOST_USERS", 3)
    assert len(np.unique(some_events(served, events, 0).users)) == 3
