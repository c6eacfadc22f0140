"""The contract of the change log, which each store keeps: order, versions, merging, keys, durability."""

import threading

import pytest

from index_store.changes.change_log import (
    NEVER_CHANGED,
    Change,
    ChangeLogError,
    KeyReusedError,
    VersionConflictError,
    Write,
)
from index_store.changes.sqlite_log import SqliteLog

INDEX = "ads-of-a-test"


@pytest.fixture
def reopen(tmp_path):
    """Opens the log of this test, as another process would; all are closed at its end."""
    opened = []

    def open_again():
        opened.append(SqliteLog(tmp_path / "changes.db", INDEX))
        return opened[-1]

    yield open_again
    for log in opened:
        log.close()


@pytest.fixture
def log(reopen):
    return reopen()


def say(ad_id, **more):
    """A write of one field, or of those in `fields`."""
    return Write(ad_id=ad_id, **{"fields": {"bid": 1}, **more})


def contents(log):
    return [(change.sequence, change.ad_id, dict(change.fields)) for change in log.read(NEVER_CHANGED)]


def test_a_new_log_is_empty(log):
    assert (log.last(), log.read(NEVER_CHANGED), log.state("a1")) == (NEVER_CHANGED, [], None)
    assert log.append([]) == []


def test_changes_are_read_as_they_were_written_and_merged(log, reopen):
    written = log.append([say("a1", fields={"bid": 1.25, "tags": [], "brand": None}), say("a2")])
    written += log.append([say("a1", fields={"bid": 2, "name": "Schuhe für 2 €", "text": {"a": [1, {"b": True}]}})])
    assert contents(log) == [
        (1, "a1", {"bid": 1.25, "tags": [], "brand": None}), (2, "a2", {"bid": 1}),
        (3, "a1", {"bid": 2, "tags": [], "brand": None, "name": "Schuhe für 2 €", "text": {"a": [1, {"b": True}]}})]
    other = reopen()
    assert other.read(NEVER_CHANGED) == written
    assert all(isinstance(change, Change) and change.at > 1.7e9 for change in written)
    assert (other.state("a1"), other.state("a2"), other.state("a3")) == (written[2], written[1], None)


def test_changes_of_one_append_build_on_each_other(log):
    made = log.append([say("a1", fields={"x": 1}), say("a1", fields={"y": 2}, if_version=1),
                       say("a1", fields={"x": 3}, if_version=2)])
    assert [dict(change.fields) for change in made] == [{"x": 1}, {"x": 1, "y": 2}, {"x": 3, "y": 2}]


@pytest.mark.parametrize(("expected", "found", "ad"), [(NEVER_CHANGED, 1, "a1"), (2, 1, "a1"), (1, 0, "a2")])
def test_nothing_is_written_when_a_version_differs(log, expected, found, ad):
    log.append([say("a1")])
    with pytest.raises(VersionConflictError) as refused:
        log.append([say("a3"), say("a4"), say(ad, if_version=expected), say("a5")])
    assert (refused.value.index, refused.value.ad_id) == (2, ad)
    assert (refused.value.expected, refused.value.found) == (expected, found)
    assert (log.last(), log.state("a3")) == (1, None)
    assert log.append([say(ad, if_version=found)])[0].sequence == 2


def test_a_repeated_key_gets_the_first_change_after_reopening_too(log, reopen):
    first, = log.append([say("a1", fields={"x": 1, "y": [2]}, key="k", if_version=NEVER_CHANGED)])
    log.append([say("a1", fields={"x": 5})])
    again = say("a1", fields={"y": [2], "x": 1}, key="k", if_version=NEVER_CHANGED)
    assert reopen().append([again]) == [first]
    mixed = reopen().append([say("a2", key="new"), again, say("a2", key="new")])
    assert [change.sequence for change in mixed] == [3, 1, 3]
    assert log.last() == 3


@pytest.mark.parametrize("other", [say("a2", key="k"), say("a1", fields={"bid": 2}, key="k"),
                                   say("a1", fields={"bid": True}, key="k"), say("a1", fields={}, key="k")])
def test_nothing_is_written_when_a_key_is_reused_for_another_write(log, other):
    log.append([say("a1", key="k")])
    with pytest.raises(KeyReusedError) as refused:
        log.append([say("a3"), other])
    assert (refused.value.index, refused.value.key, log.last()) == (1, "k", 1)


def test_changes_are_read_in_pages(log):
    log.append([say(f"a{number % 7}") for number in range(1, 26)])
    pages, after = [], NEVER_CHANGED
    while page := log.read(after, 10):
        pages.append([change.sequence for change in page])
        after = page[-1].sequence
    assert pages == [list(range(1, 11)), list(range(11, 21)), list(range(21, 26))]


def test_wait_ends_when_another_writes(log, reopen):
    log.append([say("a1")])
    assert log.wait(NEVER_CHANGED, 0)
    assert not log.wait(1, 0.03)
    threading.Timer(0.05, lambda: reopen().append([say("a2")])).start()
    assert log.wait(1, 30)
    assert log.last() == 2


def test_a_log_that_ends_before_what_was_read_is_refused(log):
    log.append([say("a1")])
    for use in (lambda: log.read(2), lambda: log.wait(2, 0)):
        with pytest.raises(ChangeLogError, match=r"ends with change 1, but 2 was read"):
            use()
