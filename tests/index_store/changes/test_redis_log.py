"""The log in Redis when things go wrong: a killed, full or frozen server, entries that are gone, another format."""

import secrets
import threading

import pytest

from index_store.changes import redis_server
from index_store.changes.change_log import NEVER_CHANGED, Change, ChangeLogError, Kind, Write
from index_store.changes.records import Record
from index_store.changes.redis_log import RedisLog
from index_store.changes.redis_script import FILLING
from tests.index_store.changes.test_change_log import check_pairs, pair, start_writer, written_by


@pytest.fixture
def log(durable_redis):
    opened = RedisLog(durable_redis.url, secrets.token_hex(8))
    yield opened
    opened.close()


def filled(log, changes=5):
    log.append([Write(kind=Kind.AD, id=f"a{number}", fields={"bid": number}) for number in range(changes)])


def name_of(log, part=""):
    return f"changes:{{{log.index}}}{part}"


def test_a_redis_is_refused_when_it_may_lose_changes(own_redis):
    with pytest.raises(ChangeLogError, match="may lose changes: its settings are appendonly no"):
        RedisLog(own_redis.url, "ads")
    assert not own_redis.client.dbsize()


def test_a_user_of_the_acl_needs_the_rights_of_the_manual(own_durable_redis):
    own_durable_redis.client.execute_command("ACL", "SETUSER", "log", "on", ">hunter2", "~changes*", "+@all",
                                             "-@dangerous", "+config|get")
    log = RedisLog(own_durable_redis.url.replace("redis://", "redis://log:hunter2@"), "ads")
    filled(log)
    assert (len(log.read(NEVER_CHANGED)), log.wait(0, 1), log.state(Kind.AD, "a4").sequence) == (5, True, 5)
    log.close()


def test_acknowledged_changes_are_there_once_when_redis_is_killed(own_durable_redis):
    place = own_durable_redis.url, "ads"
    writer = start_writer(place, "a", 0)
    begun = [tuple(map(int, writer.stdout.readline().split())) for _ in range(100)]
    own_durable_redis.kill()
    acknowledged = begun + written_by(writer)
    assert writer.returncode == 1
    own_durable_redis.launch()
    log = RedisLog(*place)
    made = check_pairs(log, {"a": acknowledged})
    assert made - len(acknowledged) in (0, 1)
    assert log.append(pair("a", made - 1)[:1])[0].sequence == 2 * made - 1
    assert log.append(pair("a", made)[:1])[0].sequence == 2 * made + 1
    log.close()


def test_an_append_that_a_crash_has_cut_off_is_not_there_at_all(own_durable_redis):
    log = RedisLog(own_durable_redis.url, "ads")
    filled(log, 3)
    filled(log, 4)
    log.close()
    own_durable_redis.kill()
    with (own_durable_redis.folder / "appendonly.aof").open("r+b") as file:
        file.truncate(file.seek(0, 2) - 20)
    own_durable_redis.launch()
    log = RedisLog(own_durable_redis.url, "ads")
    assert (log.last(), len(log.read(NEVER_CHANGED)), log.state(Kind.AD, "a3")) == (3, 3, None)
    log.close()


def test_an_open_log_goes_on_when_redis_comes_back(own_durable_redis):
    log = RedisLog(own_durable_redis.url, "ads")
    filled(log)
    own_durable_redis.kill()
    with pytest.raises(ChangeLogError, match=r"cannot be read .*see whether it runs"):
        log.last()
    with pytest.raises(ChangeLogError, match=r"cannot be written .*whether these changes were made is not known"):
        filled(log)
    own_durable_redis.launch()
    filled(log)
    assert log.last() == 10
    log.close()


def test_an_append_without_an_answer_may_have_been_made_and_is_repeated_by_its_key(own_durable_redis, monkeypatch):
    monkeypatch.setattr(redis_server, "ANSWER_SECONDS", 3.0)
    log = RedisLog(own_durable_redis.url, "ads")
    log.append([])
    own_durable_redis.freeze()
    with pytest.raises(ChangeLogError, match="repeat them with their idempotency keys"):
        log.append([Write(kind=Kind.AD, id="a", fields={"bid": 1}, key="k")])
    own_durable_redis.thaw()
    assert log.append([Write(kind=Kind.AD, id="a", fields={"bid": 1}, key="k")])[0].sequence == 1
    assert log.last() == 1
    log.close()


def test_nothing_is_written_when_redis_is_full(own_durable_redis):
    log = RedisLog(own_durable_redis.url, "ads")
    filled(log)
    own_durable_redis.client.config_set("maxmemory", 1)
    with pytest.raises(ChangeLogError, match=r"cannot be written .*give it more memory"):
        filled(log)
    own_durable_redis.client.config_set("maxmemory", 0)
    assert (log.last(), len(log.read(NEVER_CHANGED))) == (5, 5)
    log.close()


@pytest.mark.parametrize("remove", [
    lambda client, entries: client.xtrim(entries, minid="3-0", approximate=False),
    lambda client, entries: client.xdel(entries, "2-0"),
    lambda client, entries: client.delete(entries),
])
def test_entries_that_are_gone_are_told(log, durable_redis, remove):
    filled(log)
    remove(durable_redis.client, name_of(log, ":entries"))
    with pytest.raises(ChangeLogError, match=r"of the changes 2 to 5 only \d are there; restore a backup"):
        log.read(1)


def test_a_change_that_is_gone_is_told_when_its_key_is_repeated(log, durable_redis):
    write = Write(kind=Kind.AD, id="a", fields={}, key="k")
    log.append([write])
    filled(log)
    durable_redis.client.xtrim(name_of(log, ":entries"), minid="2-0", approximate=False)
    with pytest.raises(ChangeLogError, match="the change of key 'k' is missing"):
        log.append([write])
    assert log.append([Write(kind=Kind.AD, id="a", fields={})])[0].sequence == 7


def test_an_entry_that_cannot_be_read_is_told(log, durable_redis):
    durable_redis.client.xadd(name_of(log, ":entries"), {"ad": "a", "at": "1", "=bid": "{half"}, id="1-0")
    durable_redis.client.hset(name_of(log), "last", 1)
    with pytest.raises(ChangeLogError, match="entry 1-0 cannot be read"):
        log.read(NEVER_CHANGED)


@pytest.mark.parametrize(("found", "said"), [("1", "has format 1, .* reads format 3; .* delete it"),
                                             ("4 x", "has format 4, .* reads format 3; use the version"),
                                             ("3 x", "is log x, but .* replaced by another one: put that one back"),
                                             (None, "is gone"), (FILLING, "its restore did not finish")])
def test_a_log_is_refused_when_it_is_not_whole(log, durable_redis, found, said):
    if found is None:
        durable_redis.client.delete(name_of(log))
    else:
        durable_redis.client.hset(name_of(log), "format", found)
        if found != "3 x":
            with pytest.raises(ChangeLogError, match=said):
                RedisLog(durable_redis.url, log.index)
    for use in (log.last, lambda: filled(log), lambda: log.forget("u"), lambda: log.trim(0),
                lambda: log.state(Kind.AD, "a0"), lambda: log.wait(0, 1)):
        with pytest.raises(ChangeLogError, match=said):
            use()


def test_wait_outlasts_the_limit_of_an_answer(log, monkeypatch):
    monkeypatch.setattr("index_store.changes.redis_log._BLOCK_SECONDS", 0.02)
    assert not log.wait(NEVER_CHANGED, 0.1)
    writer = threading.Timer(0.1, filled, (log,))
    writer.start()
    assert log.wait(NEVER_CHANGED, 30)
    writer.join()


def test_logs_of_two_indexes_are_apart(log, durable_redis):
    filled(log)
    other = RedisLog(durable_redis.url, secrets.token_hex(8))
    assert (other.last(), other.state(Kind.AD, "a0")) == (NEVER_CHANGED, None)
    other.close()


def test_a_log_is_filled_only_when_empty_and_is_refused_until_it_is_whole(log, durable_redis):
    def records():
        yield Record(change=Change(sequence=1, at=1.5, kind=Kind.AD, id="a", fields={"x": [1]}),
                     key="", fingerprint="mark")
        with pytest.raises(ChangeLogError, match="its restore did not finish"):
            RedisLog(durable_redis.url, log.index)
        yield Record(change=Change(sequence=2, at=2.5, kind=Kind.AD, id="a", fields={"x": [1], "y": None}), key=None,
                     fingerprint=None)

    log.fill(records(), "former")
    assert (log.log_id, log.append([])) == ("former", [])
    assert [record.key for record in log.records(NEVER_CHANGED)] == ["", None]
    assert log.state(Kind.AD, "a") == Change(sequence=2, at=2.5, kind=Kind.AD, id="a", fields={"x": [1], "y": None})
    with pytest.raises(ChangeLogError, match="has 2 changes already"):
        log.fill(records(), "former")


def test_a_log_that_ends_before_what_was_read_is_neither_read_nor_written(log, durable_redis):
    filled(log)
    durable_redis.client.hset(name_of(log), "last", 3)
    for use in (log.last, lambda: filled(log), lambda: log.forget("u"), lambda: log.wait(0, 1), lambda: log.read(0)):
        with pytest.raises(ChangeLogError, match=r"ends with change 3, but 5 was read .* older one: put that one"):
            use()
    assert durable_redis.client.xlen(name_of(log, ":entries")) == 5
    durable_redis.client.hset(name_of(log), "last", 5)
    filled(log)
    assert log.last() == 10
