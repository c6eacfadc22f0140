"""The follower: what it applies, to whom, and what it does when the log cannot be read."""

import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr

from index_store.changes.backup import back_up, restore
from index_store.changes.change_log import ChangeLogError, Kind, Write
from index_store.changes.open_log import open_log
from index_store.changes.sqlite_log import SqliteLog
from index_store.live.snapshot import Snapshot
from index_store.targeting.targeting import Targeting
from loadtest.processes.redis_server import RedisServer
from service.live.follower import Follower
from service.live.included import DoesNotFitError
from service.live.log_place import INDEX, LogPlace
from service.telemetry import metrics
from service.telemetry.request_log import flush
from tests.index_store.budgets.spending import campaign, campaign_world
from tests.index_store.changes.conftest import OPTIONS
from tests.index_store.live.changed import PlainArrivals

ENCODER, _, FEATURES, TREE = campaign_world()


@dataclass
class Followed:
    snapshot: Snapshot

    @property
    def gone(self):
        return {row for row in range(30) if self.snapshot.withdrawal(row)}


def bundle(included=0):
    targeting = Targeting(ENCODER, FEATURES, TREE, None)
    return Followed(Snapshot.sealed(ENCODER, TREE, targeting, PlainArrivals(ENCODER, FEATURES, TREE), included,
                                    items=FEATURES))


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def follower(path, shared_log):
    made = Follower(shared_log(path))
    yield made
    made.close()


def say(path: Path, *writes):
    log = SqliteLog(path, INDEX)
    log.append([Write(kind=Kind.AD, id=f"ad-{row:02d}", fields={"status": status}) for row, status in writes])
    log.close()


def unreadable():
    return REGISTRY.get_sample_value("retrieval_changes_unreadable")


def test_snapshot_follows_a_log_that_somebody_makes_later(path, follower):
    one = bundle()
    follower.add(one)
    assert not path.exists()
    say(path, (3, "paused"), (4, "paused"))
    until(lambda: one.gone == {3, 4})
    say(path, (3, "active"), (5, "deleted"))
    until(lambda: one.gone == {4, 5})
    assert one.snapshot.as_of == 4
    until(lambda: REGISTRY.get_sample_value("retrieval_changes_applied", {"worker": "0"}) == 4)
    assert REGISTRY.get_sample_value("retrieval_ads_withdrawn") == 2


def test_bundle_is_up_to_date_as_soon_as_it_is_added_and_follows_from_then_on(path, follower):
    say(path, *((row % 30, "paused") for row in range(2_500)), (7, "active"))
    first, second = bundle(), bundle()
    follower.add(first)
    assert (first.snapshot.as_of, first.gone) == (2_501, set(range(30)) - {7})
    say(path, (8, "active"))
    follower.add(second)
    assert (second.snapshot.as_of, second.gone) == (2_502, set(range(30)) - {7, 8})
    say(path, (9, "active"))
    until(lambda: first.gone == second.gone == set(range(30)) - {7, 8, 9})


def test_bundle_begins_with_the_budgets_and_the_spending_of_what_it_includes(path, follower):
    log = SqliteLog(path, INDEX)
    log.append([Write(kind=Kind.CAMPAIGN, id="a", fields=campaign("a", 1.0).fields),
                Write(kind=Kind.EVENT, id="u", fields={"ad_id": "ad-01", "type": "click"},
                      noted={"campaign": "a", "spent_nanos": 10**9})])
    one, two = bundle(2), bundle(0)
    for followed in (one, two):
        follower.add(followed)
        assert followed.snapshot.gates.standing("a", time.time() + 3).gate == "closed"
        assert len(followed.snapshot.users.histories.get(b"u") or b"") == (0 if followed is one else 13)
    log.close()


def test_bundle_begins_with_the_statuses_of_what_it_includes_even_if_that_was_trimmed(path, follower):
    say(path, (3, "paused"), (4, "paused"), (4, "active"), (5, "deleted"), (6, "paused"))
    log = SqliteLog(path, INDEX)
    log.trim(4)
    log.close()
    one, two = bundle(4), bundle(5)
    for followed in (one, two):
        follower.add(followed)
        assert (followed.snapshot.as_of, followed.gone) == (5, {3, 5, 6})
    say(path, (3, "active"))
    until(lambda: one.gone == two.gone == {5, 6})


def test_bundle_is_not_followed_when_it_needs_what_was_trimmed_or_includes_more_than_the_log_has(path, follower):
    with pytest.raises(DoesNotFitError, match="up to 1, but the change log ends with 0"):
        follower.add(bundle(1))
    say(path, *((row, "paused") for row in range(9)))
    log = SqliteLog(path, INDEX)
    log.trim(7)
    log.close()
    for included, said in ((10, "up to 10, but the change log ends with 9"),
                           (6, "up to 6, and .* up to 7 were removed"),
                           (0, "up to 0, and .* up to 7 were removed")):
        with pytest.raises(DoesNotFitError, match=said):
            follower.add(bundle(included))
    one = bundle(7)
    follower.add(one)
    assert one.gone == set(range(9))


def test_bundle_is_not_followed_when_the_log_is_another_or_lacks_what_other_workers_have(path, follower, monkeypatch):
    say(path, (3, "paused"), (4, "paused"))
    with pytest.raises(DoesNotFitError, match="changes of change log c0ffee, but this is change log"):
        follower.add(bundle(1), "c0ffee")
    monkeypatch.setattr("service.live.follower.applied_by_others", lambda: 3)
    with pytest.raises(DoesNotFitError, match="has applied change 3, but the change log ends with 2"):
        follower.add(bundle())
    say(path, (5, "paused"))
    one = bundle(1)
    follower.add(one, follower._log.opened().log_id)
    assert one.gone == {3, 4, 5}


def test_bundle_stays_as_it_is_when_it_was_removed(path, follower):
    first, second = bundle(), bundle()
    follower.add(first)
    follower.add(second)
    follower.remove(first)
    say(path, (3, "paused"))
    until(lambda: second.gone == {3})
    assert first.snapshot.as_of == 0


def test_snapshot_stays_and_the_failure_is_told_once_when_the_log_cannot_be_read(path, follower, capfd):
    one = bundle()
    say(path, (3, "paused"))
    follower.add(one)
    moved = path.rename(path.with_name("moved"))
    until(lambda: unreadable() == 1)
    time.sleep(1.2)  # two more tries
    assert one.gone == {3}
    assert time.time() - 60 < one.snapshot.gates.unread_since < time.time() - 1
    moved.rename(path)
    say(path, (4, "paused"))
    until(lambda: one.gone == {3, 4} and unreadable() == 0)
    assert one.snapshot.gates.unread_since is None
    flush()
    told = capfd.readouterr().err
    assert told.count('"changes_unreadable"') == told.count('"changes_readable"') == 1
    assert "was moved or replaced" in told


def test_follower_goes_on_when_a_change_makes_no_sense(path, follower):
    one = bundle()
    follower.add(one)
    say(path, (3, "expired"))
    until(lambda: unreadable() == 1)
    assert (one.snapshot.as_of, one.gone) == (0, set())


def test_bundle_is_not_followed_when_the_log_cannot_be_read(path, follower):
    path.write_text("this is no log")
    with pytest.raises(ChangeLogError, match="log"):
        follower.add(bundle())
    path.unlink()
    follower.add(bundle())


def test_snapshot_follows_a_log_in_redis_and_goes_on_when_redis_comes_back(tmp_path, shared_log):
    one = bundle()
    metrics.CHANGES_UNREADABLE.set(0)
    with RedisServer.start(tmp_path, *OPTIONS) as server:
        place = LogPlace(SecretStr(server.url))
        log, follower = place.open(), Follower(shared_log(server.url))
        follower.add(one)
        log.append([Write(kind=Kind.AD, id="ad-03", fields={"status": "paused"})])
        until(lambda: one.gone == {3})
        server.kill()
        until(lambda: unreadable() == 1)
        assert one.gone == {3}
        server.launch()
        log.append([Write(kind=Kind.AD, id="ad-04", fields={"status": "deleted"})])
        until(lambda: one.gone == {3, 4} and unreadable() == 0)
        follower.close()
        log.close()


@pytest.fixture
def followed_redis(shared_log, tmp_path):
    """A log in Redis of five changes, each of which pauses ad 3, and a bundle that follows it; backups of three and
    of all changes."""
    with RedisServer.start(tmp_path, *OPTIONS) as server:
        shared = shared_log(server.url)
        shared.opened().append([paused(3)] * 3)
        back_up(shared.opened(), tmp_path / "older")
        shared.opened().append([paused(3)] * 2)
        back_up(shared.opened(), tmp_path / "backup")
        follower, one = Follower(shared), bundle()
        metrics.CHANGES_UNREADABLE.set(0)
        follower.add(one)
        yield server, shared, follower, one
        follower.close()


def paused(row):
    return Write(kind=Kind.AD, id=f"ad-{row:02d}", fields={"status": "paused"})


def refuses(shared, one, said):
    """The worker says so, writes nothing, and answers from what it has applied."""
    until(lambda: unreadable() == 1)
    with pytest.raises(ChangeLogError, match=said):
        shared.opened().append([paused(4)])
    assert (one.snapshot.as_of, one.gone) == (5, {3})


def test_log_that_is_emptied_and_made_anew_is_refused_until_the_former_one_is_back(followed_redis, tmp_path, capfd):
    server, shared, _, one = followed_redis
    server.client.flushall()
    refuses(shared, one, "is gone; see why Redis has lost it")
    other = open_log(server.url, INDEX)
    other.append([paused(row) for row in range(9)])
    refuses(shared, one, f"is log {other.log_id}, but {shared.opened().log_id} was opened")
    other.close()
    told = []

    def both_are_told():
        flush()
        told.append(capfd.readouterr().err)
        return all(reason in "".join(told) for reason in ("is gone", "was opened here"))

    until(both_are_told)
    server.client.flushall()
    restore(tmp_path / "backup", server.url)
    shared.opened().append([paused(5)])
    until(lambda: one.gone == {3, 5} and unreadable() == 0)


def test_older_backup_is_refused_even_when_it_has_grown_beyond_what_was_applied(followed_redis, tmp_path):
    server, shared, follower, one = followed_redis
    server.client.flushall()
    restore(tmp_path / "older", server.url)
    refuses(shared, one, "ends with change 3, but 5 was read")
    restarted = open_log(server.url, INDEX)
    restarted.append([paused(row) for row in range(9)])
    restarted.close()
    assert shared.opened().append([paused(20)])[0].sequence == 13  # not lost: it is in the log that is there now
    with pytest.raises(ChangeLogError, match=r"change 5 of the log was made at \d.* replaced by another one: put that"):
        follower._next(shared.opened(), 5)
    assert (one.snapshot.as_of, one.gone, unreadable()) == (5, {3}, 1)
