"""Group commit: what comes together is written together, and everyone gets their own answer."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from index_store.changes.change_log import ChangeLogError, KeyReusedError, Kind, VersionConflictError
from index_store.changes.group_commit import GroupCommit
from index_store.changes.sqlite_log import SqliteLog
from tests.index_store.changes.test_change_log import say


class HeldLog:
    """A log whose first append waits until it may go on; it notes how many writes each append has."""

    def __init__(self, log):
        self.log, self.sizes, self.begun, self.go_on = log, [], threading.Event(), threading.Event()

    def append(self, writes):
        self.sizes.append(len(writes))
        self.begun.set()
        assert self.go_on.wait(30)
        return self.log.append(writes)


@pytest.fixture
def log(tmp_path):
    opened = SqliteLog(tmp_path / "changes.db", "ads")
    yield opened
    opened.close()


def answers(log, *calls):
    """What each call gets if they come while another one, for ad a0, is written; and the sizes of the appends."""
    held = HeldLog(log)
    together = GroupCommit(held)
    with ThreadPoolExecutor(len(calls) + 1) as pool:
        first = pool.submit(together.append, [say("a0", fields={})])
        assert held.begun.wait(30)
        others = []
        for number, call in enumerate(calls):
            others.append(pool.submit(together.append, call))
            while len(together._waiting) <= number:
                assert not others[-1].done()
        held.go_on.set()
        outcomes = [future.exception() or [change.sequence for change in future.result()] for future in others]
    assert first.result()[0].sequence == 1
    together.close()
    return outcomes, held.sizes


def test_calls_that_wait_are_written_together(log):
    calls = [[say(f"a{number}", fields={"bid": number})] * number for number in (1, 3, 0, 2)]
    assert answers(log, *calls) == ([[2], [3, 4, 5], [], [6, 7]], [1, 6])
    assert log.state(Kind.AD, "a3").fields == {"bid": 3}


def test_groups_have_a_limit_that_one_call_may_exceed(log, monkeypatch):
    monkeypatch.setattr("index_store.changes.group_commit._GROUP", 5)
    calls = [[say("a", fields={})] * number for number in (2, 3, 1, 7, 1, 4)]
    outcomes, sizes = answers(log, *calls)
    assert sizes == [1, 5, 1, 7, 5]
    assert [number for outcome in outcomes for number in outcome] == list(range(2, 20))


def test_a_call_gets_its_own_error_while_the_others_succeed(log):
    sound = [say("a1", fields={"bid": 1}, if_version=0, key="k")]
    late = [say("a2", fields={}), say("a1", fields={}, if_version=0)]
    reused = [say("a3", fields={}), say("a3", fields={}), say("a3", fields={}, key="k")]
    outcomes, sizes = answers(log, sound, late, reused, [say("a4", fields={})], sound)
    assert [outcomes[0], outcomes[3], outcomes[4]] == [[2], [3], [2]]
    conflict, other = outcomes[1], outcomes[2]
    assert isinstance(conflict, VersionConflictError)
    assert (conflict.index, conflict.id, conflict.expected, conflict.found) == (1, "a1", 0, 2)
    assert isinstance(other, KeyReusedError)
    assert (other.index, other.key) == (2, "k")
    assert sizes == [1, 8, 6, 3, 2, 3]
    assert (log.last(), log.state(Kind.AD, "a2"), log.state(Kind.AD, "a3")) == (3, None, None)


def test_others_succeed_when_a_value_of_one_call_is_not_json(log):
    outcomes, _ = answers(log, [say("a1", fields={})], [say("a2", fields={"bid": float("nan")})])
    assert outcomes[0] == [2]
    assert isinstance(outcomes[1], ValueError)


def test_all_calls_fail_when_the_log_cannot_be_written(log):
    together = GroupCommit(log)
    log.close()
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(together.append, [say("a", fields={})]) for _ in range(8)]
    assert all(isinstance(future.exception(), ChangeLogError) for future in futures)


def test_a_closed_group_is_refused(log):
    together = GroupCommit(log)
    together.close()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="shutdown"):
            together.append([say("a", fields={})])
