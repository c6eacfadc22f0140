"""Which log a path or a URL opens, and what is refused without quoting a password."""

import pytest

from index_store.changes.change_log import ChangeLogError
from index_store.changes.open_log import open_existing_log, open_log
from index_store.changes.redis_log import RedisLog
from index_store.changes.sqlite_log import SqliteLog


def test_a_path_is_a_file_and_a_url_a_redis(tmp_path, durable_redis, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for where, kind in (("changes.db", SqliteLog), ("./a:b", SqliteLog), (durable_redis.url, RedisLog)):
        log = open_log(where, "ads")
        assert isinstance(log, kind)
        log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a:b", "changes.db"]


@pytest.mark.parametrize("where", ["postgres://user:hunter2@host/db", "http://host:hunter2", "sqlite:hunter2",
                                   "redis:hunter2", "redis://:hun/ter2@host:6379/0", "rediss://:hunter2@host:99999",
                                   "unix://:hunter2@/path?port=x#y", "redis://:hunter2@host/0?colour=red"])
def test_anything_else_is_refused_without_its_password(where):
    with pytest.raises(ChangeLogError, match=r"redis://:PASSWORD@HOST:6379/0, rediss://") as refused:
        open_log(where, "ads")
    assert "ter2" not in str(refused.value)


@pytest.mark.parametrize("where", ["", "."])
def test_a_folder_is_refused(where):
    with pytest.raises(ChangeLogError, match="is not the path of a file"):
        open_log(where, "ads")


def test_only_a_log_that_is_there_is_opened_when_asked_for(tmp_path, own_durable_redis):
    for where, place in ((str(tmp_path / "changes.db"), "changes.db"), (own_durable_redis.url, "Redis 127.0.0.1:")):
        with pytest.raises(ChangeLogError, match=f"there is no change log at .*{place}"):
            open_existing_log(where, None)
        open_log(where, "ads").close()
        for index in (None, "ads"):
            log = open_existing_log(where, index)
            assert log.index == "ads"
            log.close()
        with pytest.raises(ChangeLogError, match=r"no change log of index 'offers' at .*, but of ads"):
            open_existing_log(where, "offers")
    open_log(own_durable_redis.url, "offers").close()
    with pytest.raises(ChangeLogError, match=r"logs of 2 indexes at .*: ads, offers; say which with --index"):
        open_existing_log(own_durable_redis.url, None)
