"""The ad writer: what it lets through, what it refuses, and that nothing is written then."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from index_store.changes.change_log import Kind, Write
from index_store.changes.sqlite_log import SqliteLog
from service.contract.errors import ServiceError
from service.live.ad_writer import AdWriter
from service.live.log_place import INDEX
from service.live.log_writer import LogWriter, RefusedWriteError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def writer(path, shared_log):
    log = LogWriter(shared_log(path))
    yield AdWriter(log)
    log.close()


def status(ad_id, to, **more):
    return Write(kind=Kind.AD, id=ad_id, fields={"status": to}, **more)


def append(writer, *writes):
    """The versions that these writes make; the bundle knows the ads a, b and c."""
    return [change.sequence for change in asyncio.run(writer.append(writes, lambda ad_id: ad_id in "abc"))]


def refused(writer, *writes):
    """Index and error type of the refusal; nothing was written."""
    before = asyncio.run(writer._log.changes(0, 1000))
    with pytest.raises(RefusedWriteError) as caught:
        append(writer, *writes)
    assert asyncio.run(writer._log.changes(0, 1000)) == before
    return caught.value.index, caught.value.refusal.error_type, caught.value.refusal.message


def test_ads_are_paused_resumed_and_deleted_in_order(writer):
    assert append(writer, status("a", "paused")) == [1]
    assert append(writer, status("a", "active"), status("b", "paused"), status("a", "deleted")) == [2, 3, 4]
    assert asyncio.run(writer.state("a")).fields == {"status": "deleted"}


def test_log_is_empty_and_there_is_no_file_when_nobody_has_written(path, writer):
    assert asyncio.run(writer.state("a")) is None
    assert refused(writer, status("z", "paused"))[1] == "ad_not_found"
    assert not path.exists()


def test_ad_is_known_when_only_the_log_has_it(path, writer):
    log = SqliteLog(path, INDEX)
    log.append([status("of another bundle", "paused")])
    log.close()
    assert append(writer, status("of another bundle", "active")) == [2]


def test_write_is_refused_when_the_version_is_not_the_expected_one(writer):
    append(writer, status("a", "paused", if_version=0))
    assert append(writer, status("a", "active", if_version=1)) == [2]
    index, kind, message = refused(writer, status("b", "paused"), status("a", "paused", if_version=1))
    assert (index, kind) == (1, "version_conflict")
    assert message == 'ad "a" has version 2, if_version is 1'
    assert refused(writer, status("b", "paused", if_version=1))[2] == 'ad "b" has version 0, if_version is 1'


def test_write_is_refused_when_the_ad_is_deleted(writer):
    append(writer, status("a", "deleted"))
    for to in ("paused", "active"):
        assert refused(writer, status("b", "paused"), status("a", to))[:2] == (1, "ad_deleted")
    assert refused(writer, status("a", "active", key="new"))[1:] == ("ad_deleted", 'ad "a" is deleted, since version 1')
    assert refused(writer, status("b", "deleted"), status("b", "active"))[:2] == (1, "ad_deleted")
    assert append(writer, status("a", "deleted")) == [2]


def test_repeated_write_gets_the_first_change_even_when_the_ad_was_deleted_since(writer):
    assert append(writer, status("a", "paused", key="one")) == [1]
    assert append(writer, status("a", "active")) == [2]
    assert append(writer, status("a", "paused", key="one")) == [1]
    append(writer, status("a", "deleted"))
    assert append(writer, status("a", "paused", key="one")) == [1]
    assert refused(writer, status("a", "paused", key="one"), status("a", "active"))[:2] == (1, "ad_deleted")
    assert asyncio.run(writer.state("a")).fields == {"status": "deleted"}


def test_write_is_refused_when_its_key_was_used_for_another(writer):
    append(writer, status("a", "paused", key="one"))
    assert refused(writer, status("b", "paused"), status("b", "paused", key="one"))[:2] == (1, "key_reused")
    assert refused(writer, status("a", "active", key="one"))[:2] == (0, "key_reused")


def test_no_ad_comes_back_when_it_is_deleted_and_resumed_at_the_same_time(path, shared_log):
    """Whoever is first: after its deletion no change of an ad makes it active."""
    logs = [LogWriter(shared_log(path)) for _ in range(2)]
    writers = [AdWriter(log) for log in logs]

    def write(number):
        to = "deleted" if number == 10 else "paused" if number % 3 else "active"
        try:
            append(writers[number % 2], status("a", to))
            return "written"
        except RefusedWriteError as error:
            return error.refusal.error_type
        except ServiceError as error:
            return error.error_type

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(write, range(40))) <= {"written", "ad_deleted", "overloaded"}
    changes, _ = asyncio.run(logs[0].changes(0, 1000))
    statuses = [change.fields["status"] for change in changes]
    assert "deleted" not in statuses or statuses.index("deleted") == len(statuses) - 1
    for log in logs:
        log.close()


def test_call_is_refused_when_the_log_fails(path, writer):
    append(writer, status("a", "paused"))
    moved = path.rename(path.with_name("moved"))
    for call in (writer.state("a"), writer.append([status("a", "active")], lambda _: True)):
        with pytest.raises(ServiceError, match="was moved or replaced") as caught:
            asyncio.run(call)
        assert caught.value.error_type == "change_log_unavailable"
    moved.rename(path)
    assert append(writer, status("a", "active")) == [2]
