"""The user writer: states by version and key, and that forgetting erases."""

import asyncio

import pytest

from index_store.changes.change_log import Kind, Write
from service.live.log_writer import LogWriter, RefusedWriteError
from service.live.user_writer import UserWriter


@pytest.fixture
def log(tmp_path, shared_log):
    made = LogWriter(shared_log(tmp_path / "log"))
    yield made
    made.close()


def put(log, **more):
    return asyncio.run(UserWriter(log).put(Write(kind=Kind.USER, id="u", **{"fields": {"features": {}}, **more})))


def test_state_is_written_by_version_and_key(log):
    assert [change.sequence for change in put(log, if_version=0, key="k") + put(log, key="k")] == [1, 1]
    for more, error_type in [({"if_version": 3}, "version_conflict"), ({"key": "k", "fields": {}}, "key_reused")]:
        with pytest.raises(RefusedWriteError) as caught:
            put(log, **more)
        assert caught.value.refusal.error_type == error_type
    assert log.opened().last() == 1


def test_user_is_forgotten_once_by_a_repeated_key(log):
    put(log)
    (first,) = asyncio.run(UserWriter(log).forget("u", "k"))
    assert asyncio.run(UserWriter(log).forget("u", "k")) == [first]
    with pytest.raises(RefusedWriteError, match="was used for another write"):
        asyncio.run(UserWriter(log).forget("v", "k"))
    assert [change.kind for change in log.opened().read(0)] == ["erased", "forgotten"]
