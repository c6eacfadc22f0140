"""The log that a worker shares: there once somebody writes, one object for all."""

from index_store.changes.change_log import Kind, Write


def test_log_is_opened_once_and_not_before_there_is_one(shared_log, tmp_path):
    log = shared_log(tmp_path / "log")
    assert log.existing() is None
    assert list(tmp_path.iterdir()) == []
    opened = log.opened()
    assert log.existing() is log.opened() is opened
    opened.append([Write(kind=Kind.AD, id="a", fields={})])
    assert shared_log(tmp_path / "log").existing().last() == 1
