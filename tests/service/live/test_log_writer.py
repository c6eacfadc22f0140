"""The log writer: opened when it is needed, off the event loop, and what is refused."""

import asyncio

import pytest

from index_store.changes.change_log import ChangeLogError, Kind, Write
from service.contract.errors import ServiceError
from service.live import log_writer
from service.live.log_writer import LogWriter


@pytest.fixture
def writer(tmp_path, shared_log):
    made = LogWriter(shared_log(tmp_path / "log"))
    yield made
    made.close()


def changes(writer, after):
    found, last = asyncio.run(writer.changes(after, 2))
    return [change.sequence for change in found], last


def test_log_is_empty_until_somebody_writes(writer, tmp_path):
    assert (writer.existing(), changes(writer, 0), changes(writer, 5)) == (None, ([], 0), ([], 0))
    assert not (tmp_path / "log").exists()
    writer.group().append([Write(kind=Kind.AD, id="a", fields={})] * 4)
    assert writer.existing() is writer.opened()
    assert (changes(writer, 1), changes(writer, 9)) == (([2, 3], 4), ([], 4))


def test_call_is_refused_when_the_log_fails_or_too_many_wait(writer, monkeypatch):
    def fail():
        raise ChangeLogError("the log is gone", "bring it back")

    with pytest.raises(ServiceError) as caught:
        asyncio.run(writer.in_thread(fail))
    assert (caught.value.error_type, caught.value.message, caught.value.help) == (
        "change_log_unavailable", "the log is gone", "bring it back")
    monkeypatch.setattr(log_writer, "_MOST_WAITING", 0)
    with pytest.raises(ServiceError) as caught:
        asyncio.run(writer.in_thread(lambda: 1))
    assert caught.value.error_type == "overloaded"
