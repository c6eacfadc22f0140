"""Groups of examples share a history; batches cover them once, fold by fold."""

from dataclasses import replace

import numpy as np
import pytest

from model.data.load import Events
from model.examples.clicks import Clicks
from model.examples.example_groups import ExampleGroups
from model.examples.folds import fold_of_pairs
from tests.model.worlds import impressions, in_context, positives


def test_groups_share_a_history_between_two_clicks():
    users = np.array([0, 0, 0, 0, 0, 1], np.int32)
    times = np.array([1, 2, 3, 3, 4, 1], np.int64)
    labels = np.array([[0], [1], [0], [0], [0], [0]], np.int8)
    log = Events(users, np.arange(6, dtype=np.int32), times, labels)
    spec = positives().spec
    spec = replace(spec, negatives="impressions", history_ordered=True)
    groups = ExampleGroups.of(spec, log, Clicks.of(log, 2), most=2)
    assert [groups.events.row(g).tolist() for g in range(len(groups))] == [[0, 1], [2, 3], [4], [5]]
    assert groups.before.tolist() == [1, 3, 4, 1]


@pytest.mark.parametrize("log", [positives, impressions])
def test_batches_cover_every_event_once_and_never_mix_folds(log):
    data = log()
    fold = fold_of_pairs(data.train, seed=0)
    groups = ExampleGroups.of(data.spec, data.train, Clicks.of(data.train, 60), 3, fold)
    batches = list(groups.batches(7, np.random.default_rng(0)))
    assert sorted(np.concatenate([chosen for _, chosen in batches])) == list(range(len(groups)))
    assert sorted(groups.events.values) == list(range(len(data.train)))
    for f, chosen in batches:
        assert len(chosen) <= 7
        events = groups.events.take(chosen)
        assert (fold[events.values] == f).all()
        assert (data.train.users[events.values] == np.repeat(groups.users[chosen], events.lengths)).all()


def test_items_of_groups_are_padded():
    log = impressions()
    groups = ExampleGroups.of(log.spec, log.train, Clicks.of(log.train, 60), 8)
    chosen = np.array([0, 1, 2])
    rows, filled, events = groups.padded_items(chosen, log.train)
    assert rows.shape == filled.shape
    assert filled.sum(axis=1).tolist() == [len(groups.events.row(g)) for g in chosen]
    assert rows[filled].tolist() == log.train.items[events].tolist()
    assert not rows[~filled].any()


def test_groups_of_positives_share_their_context():
    data = positives()
    hours = np.random.default_rng(0).integers(0, 3, (len(data.train), 1)).astype(np.int32)
    events = replace(data.train, context=hours)
    groups = ExampleGroups.of(data.spec, events, Clicks.of(events, 60), 8)
    assert sorted(groups.events.values) == list(range(len(events)))
    for g in range(len(groups)):
        assert len(set(hours[groups.events.row(g), 0].tolist())) == 1
    chosen = np.arange(5)
    assert groups.context(chosen, hours)[:, 0].tolist() == [hours[groups.events.row(g)[0], 0] for g in chosen]


def test_context_of_impressions_is_that_of_each_event():
    log = in_context(300)
    groups = ExampleGroups.of(log.spec, log.train, Clicks.of(log.train, 60), 8)
    plain = ExampleGroups.of(log.spec, replace(log.train, context=None), Clicks.of(log.train, 60), 8)
    assert groups.events.values.tolist() == plain.events.values.tolist()
    _, _, of = groups.padded_items(np.arange(9), log.train)
    assert groups.context(np.arange(9), log.train.context).tolist() == log.train.context[of].tolist()
