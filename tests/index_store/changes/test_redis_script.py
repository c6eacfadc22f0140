"""The script that appends, run by a real Redis: what it writes, and that it writes nothing when it refuses."""

import secrets

import pytest
import redis

from index_store.changes.redis_script import APPEND, FILLING, FORGET, FORMAT


@pytest.fixture
def script(durable_redis):
    """Runs the script on a log of its own; its client and the log's name are attributes."""
    client, log = redis.Redis(port=durable_redis.port, decode_responses=True, protocol=2), secrets.token_hex(8)
    client.hset(log, mapping={"format": FORMAT, "last": 0})

    def run(*arguments):
        return client.eval(APPEND, 3, log, f"{log}:entries", f"{log}:keys", FORMAT, 0, *arguments)

    run.client, run.log = client, log
    yield run
    client.close()


def test_entries_hold_the_whole_state_and_numbers_as_they_were_written(script):
    script("ad", "a", 1, "", "", "", 2, "=x", "1.00000000000000000001", "=y", "[]")
    made = script("ad", "a", 1, "1", "=k", "mark", 1, "=x", "9007199254740993", "ad", "b", 1, "0", "", "", 0)
    assert made[0] == "made"
    (entry, flat), = made[1]
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    assert (entry, float(fields.pop("at")) > 1.7e9) == ("2-0", True)
    assert fields == {"kind": "ad", "id": "a", "key": "=k", "fingerprint": "mark", "=x": "9007199254740993", "=y": "[]"}
    assert script.client.hget(script.log, "last") == "3"
    assert script.client.hgetall(f"{script.log}:keys") == {"=k": "2 mark"}
    assert script.client.hgetall(f"{script.log}:ad:a").keys() == {"n", "at", "=x", "=y"}
    assert script.client.hget(f"{script.log}:ad:b", "n") == "3"


@pytest.mark.parametrize(("arguments", "answer"), [
    (["ad", "a", 1, "0", "", "", 0], ["version", 1, "1"]),
    (["user", "a", 1, "2", "", "", 0], ["version", 1, "0"]),
    (["event", "b", "", "", "=k", "other", 0], ["key", 1]),
    (["ad", "b", 1, "", "", "", 3600, *(text for number in range(3600) for text in (f"={number}", "1"))],
     ["fields", 1, 3600]),
])
def test_nothing_is_written_when_a_write_is_refused(script, arguments, answer):
    script("ad", "a", 1, "", "=k", "mark", 0)
    assert script("ad", "c", 1, "", "", "", 0, *arguments) == answer
    assert script.client.hget(script.log, "last") == "1"
    assert script.client.xlen(f"{script.log}:entries") == 1
    assert not script.client.exists(f"{script.log}:ad:c")


@pytest.mark.parametrize("found", [FILLING, "1", None])
def test_nothing_is_written_when_the_format_is_another(script, found):
    if found is None:
        script.client.delete(script.log)
    else:
        script.client.hset(script.log, "format", found)
    assert script("ad", "a", 1, "", "", "", 0) == ["format", found or ""]
    assert not script.client.exists(f"{script.log}:entries")


def test_a_forgotten_user_leaves_no_key_but_the_erased_numbers(script):
    script("user", "u", 1, "", "=k", "mark", 1, "=age", "31", "event", "u", "", "", "", "", 1, "=ad_id", "1",
           "event", "v", "", "", "=k2", "mark", 0)
    client, log = script.client, script.log
    before = client.zcard(f"{log}:erased"), client.lrange(f"{log}:of_user:u", 0, -1)
    client.eval(FORGET, 3, log, f"{log}:entries", f"{log}:keys", FORMAT, 0, "u", "", "")
    assert before == (0, ["1", "2"])
    assert [entry for entry, _ in client.xrange(f"{log}:entries")] == ["3-0", "4-0"]
    assert [member.split()[0] for member in client.zrange(f"{log}:erased", 0, -1)] == ["1", "2"]
    assert client.hgetall(f"{log}:keys") == {"=k2": "3 mark"}
    assert not client.exists(f"{log}:of_user:u", f"{log}:user:u")
