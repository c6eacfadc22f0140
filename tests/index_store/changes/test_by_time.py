"""Entries by time: the last one before a time, among all and after a trim."""

import pytest

from index_store.changes.by_time import last_before
from index_store.changes.change_log import Kind, Write
from index_store.changes.sqlite_log import SqliteLog


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Entry n was made at 100 n; there are ten."""
    opened = SqliteLog(tmp_path / "log", "ads")
    for number in range(1, 11):
        monkeypatch.setattr("index_store.changes.sqlite_log.time.time", lambda at=100.0 * number: at)
        opened.append([Write(kind=Kind.EVENT, id="u", fields={})])
    yield opened
    opened.close()


@pytest.mark.parametrize("at", [0, 100, 101, 500, 550, 1_000, 5_000])
@pytest.mark.parametrize("through", [0, 1, 7, 10])
def test_last_entry_before_a_time_is_found(log, at, through):
    assert last_before(log, at, through) == sum(100 * number < at for number in range(1, through + 1))


def test_trimmed_entries_count_as_before(log):
    log.trim(4)
    assert [last_before(log, at, 10) for at in (0, 450, 601)] == [4, 4, 6]
    assert last_before(log, 0, 3) == 3
