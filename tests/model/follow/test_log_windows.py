"""Windows of the change log: cut by the number of events or by time, the same whenever they are read."""

import time

import pytest

from model.follow.log_windows import LogWindows
from tests.model.follow.logs import ad, event, written


def windows(path, **size):
    return LogWindows(where=str(path), **{"events": None, "seconds": None, "once": True} | size)


@pytest.fixture
def changes(tmp_path):
    """Nine entries, six of them events."""
    impressions = [event("u2", "abcdab"[at], "impression", 100 + at) for at in range(6)]
    return written(tmp_path / "changes", [*impressions[:2], ad("a", status="paused"), *impressions[2:5],
                                          ad("b", status="paused"), impressions[5], ad("c", status="paused")])


def test_a_window_ends_with_its_last_event_and_the_next_one_begins_after_it(changes, log):
    sizes, after = [], 0
    while (found := windows(changes, events=4).next(after, 0.0, log)) is not None:
        sizes.append((found.sequence, len(found.window.events)))
        after = found.sequence
    assert sizes == [(5, 4), (9, 2)]


def test_once_takes_all_that_is_there(changes, log):
    found = windows(changes).next(0, 0.0, log)
    assert (found.sequence, len(found.window.events), len(found.window.ads)) == (9, 6, 3)
    assert windows(changes).next(9, found.ended_at, log) is None


def test_a_log_that_nobody_has_written_to_has_no_window(tmp_path, log):
    assert windows(tmp_path / "none").next(0, 0.0, log) is None


@pytest.fixture
def written_at(tmp_path):
    """A change log whose writes were made at planted times."""
    def of(*writes):
        for at, write in writes:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("index_store.changes.sqlite_log.time.time", lambda at=at: at)
                written(tmp_path / "changes", [write])
        return tmp_path / "changes"

    return of


def test_a_window_by_time_ends_by_the_times_of_its_entries(written_at, log):
    began = time.time() - 19.8  # so that the second window ends soon
    path = written_at((began, event("u2", "a", "impression", 1)), (began + 9, event("u2", "b", "impression", 2)),
                      (began + 12, event("u2", "c", "impression", 3)))
    by_time = windows(path, seconds=10.0, once=False)
    first = by_time.next(0, 0.0, log)
    assert (first.sequence, len(first.window.events)) == (2, 2)
    second = by_time.next(first.sequence, first.ended_at, log)  # waits for its end
    assert (second.sequence, len(second.window.events)) == (3, 1)
    assert (first.ended_at, second.ended_at) == pytest.approx((began + 10, began + 20))


def test_a_window_by_time_without_events_is_extended(written_at, log):
    began = time.time() - 30
    path = written_at((began, ad("a", status="paused")), (began + 12, event("u2", "a", "impression", 1)))
    found = windows(path, seconds=10.0, once=False).next(0, 0.0, log)
    assert (found.sequence, len(found.window.events), len(found.window.ads)) == (2, 1, 1)
    assert found.ended_at == pytest.approx(began + 20)
