"""Lately: a worker that starts on a later bundle, after a trim or a restore, knows what campaigns have spent."""

import time
from contextlib import closing

import pytest

from index_store.budgets.remembered import remembered_seconds
from index_store.changes.backup import back_up, restore
from index_store.changes.by_time import last_before
from index_store.changes.change_log import Kind, Write
from index_store.changes.open_log import open_log
from index_store.live.snapshot import Snapshot
from index_store.targeting.targeting import Targeting
from service.live.lately import lately
from tests.index_store.budgets.spending import UNIT, campaign, campaign_world
from tests.index_store.live.changed import PlainArrivals

ENCODER, _, FEATURES, TREE = campaign_world()
HOUR = 3600.0
CAP = {"impressions": 2, "hours": 100}


def sealed(included):
    return Snapshot.sealed(ENCODER, TREE, Targeting(ENCODER, FEATURES, TREE, None),
                           PlainArrivals(ENCODER, FEATURES, TREE), included, items=FEATURES)


def started(log, included, now):
    """The snapshot of a worker that starts on a bundle which includes so many changes."""
    snapshot = sealed(included)
    for changes in lately(log, included, now):
        snapshot = snapshot.with_campaigns(changes)
    return snapshot.with_changes(log.read(included, 10_000)) if included < log.last() else snapshot


def event(campaign, nanos, user="u", kind="click"):
    return Write(kind=Kind.EVENT, id=user, fields={"ad_id": "ad-01", "type": kind},
                 noted={"campaign": campaign, "spent_nanos": nanos})


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Campaigns and events over five days until now; `log.now` is the time of its end."""
    with closing(open_log(str(tmp_path / "log"), "ads")) as opened:
        end = time.time()
        for back in range(120, -1, -4):  # hours
            monkeypatch.setattr("index_store.changes.sqlite_log.time.time", lambda at=end - back * HOUR: at)
            if back == 120:
                opened.append([Write(kind=Kind.CAMPAIGN, id=name, fields=campaign(name, budget, cap=CAP).fields)
                               for name, budget in (("a", 1.0), ("b", 0.001))])
            if back in (96, 40):
                opened.append([event("a", 1, "seen", "impression")])
            opened.append([event("a", 3 * UNIT // 100, f"user-{back}"), event("b", UNIT // 100)])
            if back == 20:
                opened.forget("user-24")
        monkeypatch.undo()
        opened.end = end
        yield opened


@pytest.mark.parametrize("included", [0, 1, 40, 67])
def test_bundle_of_any_age_leads_to_the_same_budgets_and_caps(log, included):
    whole, part = sealed(0).with_changes(log.read(0, 10_000)), started(log, included, log.end)
    assert part.as_of == whole.as_of == log.last()
    tick = int(log.end // 60) + 5
    one, other = (snapshot.gates.budgets.pacing.advanced(tick, snapshot.gates.budgets.ledger)
                  for snapshot in (whole, part))
    assert (one.names, one.probability.tolist(), one.closed.tolist()) == (
        other.names, other.probability.tolist(), other.closed.tolist())
    assert one.spent.tolist() == other.spent.tolist()
    for snapshot in (whole, part):
        assert snapshot.gates.budgets.spent_today("a", log.end) > 0
        assert snapshot.users.of(b"seen").capped(log.end) == ["a"]
        assert snapshot.users.of(b"seen").capped(log.end + 5 * HOUR) == []


def test_trimmed_and_restored_log_knows_it_too(log, tmp_path):
    last, before = log.last(), started(log, log.last(), log.end)
    begin = log.end - remembered_seconds(log.last_states(Kind.CAMPAIGN, last))
    log.trim(last_before(log, begin, last))
    assert 0 < log.trimmed() < last
    back_up(log, tmp_path / "backup")
    restore(tmp_path / "backup", str(tmp_path / "restored"))
    with closing(open_log(str(tmp_path / "restored"), "ads")) as restored:
        for opened in (log, restored):
            after = started(opened, last, log.end)
            assert after.gates.budgets.pacing.spent.tolist() == before.gates.budgets.pacing.spent.tolist()
            assert after.gates.budgets.pacing.spent.tolist() != [0, 0]
            assert after.gates.budgets.declared == before.gates.budgets.declared


def test_nothing_is_read_when_no_campaign_is_declared(tmp_path):
    with closing(open_log(str(tmp_path / "log"), "ads")) as opened:
        opened.append([event("a", 1)])
        assert list(lately(opened, 1, time.time())) == []
