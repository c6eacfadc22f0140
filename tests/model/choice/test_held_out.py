"""The hold-out: its share, its kind, and which impressions are asked about."""

from dataclasses import replace

import numpy as np
import pytest

from model.choice import held_out as module
from model.choice.held_out import HeldOut
from tests.model.worlds import impressions, positives


def test_a_small_log_loses_a_larger_share(monkeypatch):
    assert HeldOut.of(positives(), 0).share == 0.2
    monkeypatch.setattr(module, "MANY_POSITIVES", 360)
    assert HeldOut.of(positives(), 0).share == 0.1


@pytest.mark.parametrize(("log", "kind"), [
    (positives(), "random pairs of user and ad"), (impressions(), "the latest"),
    (replace(positives(), spec=replace(positives().spec, history_ordered=True)), "each user's latest")])
def test_the_kind_follows_the_order_of_the_log(log, kind):
    held = HeldOut.of(log, 0)
    assert held.kind == kind
    assert len(held.train) + len(held.asked) == len(log.train)


def test_impressions_are_those_of_whole_users(monkeypatch):
    everyone = HeldOut.of(impressions(), 0).asked
    monkeypatch.setattr(module, "IMPRESSIONS", 40)
    some = HeldOut.of(impressions(), 0).asked
    assert 30 < len(some) <= 40
    counts = np.bincount(some.users, minlength=60)
    assert (counts[counts > 0] == np.bincount(everyone.users, minlength=60)[counts > 0]).all()
    monkeypatch.setattr(module, "IMPRESSIONS", 1)
    assert len(np.unique(HeldOut.of(impressions(), 0).asked.users)) == 1


def test_test_events_are_gone():
    log = positives()
    held = HeldOut.of(replace(log, test=None), 0)
    assert vars(held.asked).keys() == vars(log.test).keys()
    for name, column in vars(HeldOut.of(log, 0).asked).items():
        assert np.array_equal(column, vars(held.asked)[name])
