"""Which Redis may hold a change log: its settings, its password, and what is said if it cannot be used."""

import pytest

from index_store.changes import redis_server
from index_store.changes.change_log import ChangeLogError
from index_store.changes.redis_server import DURABLE, address, check_durable, connect, reported
from loadtest.processes.redis_server import RedisServer, free_port

PASSWORD = "hunter2"


def test_a_redis_is_refused_when_it_may_lose_changes(durable_redis, tmp_path):
    check_durable(connect(durable_redis.url))
    with (RedisServer.start(tmp_path, "--maxmemory-policy", "allkeys-lru") as cache,
          pytest.raises(ChangeLogError) as refused):
        check_durable(connect(cache.url))
    assert refused.value.fact == (f"Redis 127.0.0.1:{cache.port}, database 0 may lose changes: its settings are "
                                  "appendonly no, appendfsync everysec, maxmemory-policy allkeys-lru")
    assert refused.value.remedy == ("set appendonly yes, appendfsync always, maxmemory-policy noeviction in its "
                                    "configuration")


def test_each_setting_is_named_when_it_alone_is_wrong(own_durable_redis):
    for name, wrong in {"appendonly": "no", "appendfsync": "everysec", "no-appendfsync-on-rewrite": "yes",
                        "maxmemory-policy": "volatile-ttl"}.items():
        own_durable_redis.client.config_set(name, wrong)
        with pytest.raises(ChangeLogError, match=rf"its settings are {name} {wrong}; set {name} {DURABLE[name]} in"):
            check_durable(connect(own_durable_redis.url))
        own_durable_redis.client.config_set(name, DURABLE[name])


def test_what_is_needed_is_said_when_the_settings_are_secret(own_durable_redis):
    own_durable_redis.client.execute_command("ACL", "SETUSER", "log", "on", f">{PASSWORD}", "~*", "+@all", "-config")
    url = own_durable_redis.url.replace("redis://", f"redis://log:{PASSWORD}@")
    with pytest.raises(ChangeLogError, match=r"does not tell its settings .*appendfsync always.*\+config\|get"):
        check_durable(connect(url))


def test_messages_name_the_place_and_never_the_password():
    assert address(connect(f"redis://me:{PASSWORD}@host:7/3")) == "Redis host:7, database 3"
    assert address(connect(f"rediss://:{PASSWORD}@host")) == "Redis host:6379, database 0"
    assert address(connect(f"unix://:{PASSWORD}@/run/redis.sock?db=2")) == "Redis /run/redis.sock, database 2"


def failure(url, command):
    client = connect(url)
    with pytest.raises(ChangeLogError) as refused, reported(address(client), "cannot be read"):
        client.execute_command(*command)
    assert PASSWORD not in str(refused.value)
    return str(refused.value)


def test_errors_say_what_to_do(own_durable_redis, monkeypatch):
    url, client = own_durable_redis.url, own_durable_redis.client
    assert failure(url, ("NONSENSE", PASSWORD)).endswith("see what its log says")
    client.config_set("maxmemory", 1)
    assert failure(url, ("SET", "a", "b")).endswith("give it more memory (maxmemory)")
    client.config_set("maxmemory", 0)
    client.replicaof("127.0.0.1", free_port())
    assert failure(url, ("SET", "a", "b")).endswith("name the master, not a replica")
    client.replicaof("NO", "ONE")
    client.config_set("requirepass", PASSWORD)
    client.auth(PASSWORD)
    for wrong in (url, url.replace("redis://", f"redis://:{PASSWORD}3@")):
        assert failure(wrong, ("PING",)).endswith("correct the user, the password or the rights of the user")
    monkeypatch.setattr(redis_server, "ANSWER_SECONDS", 0.1)
    own_durable_redis.freeze()
    assert "see whether it runs" in failure(url, ("PING",))
    own_durable_redis.thaw()
    own_durable_redis.kill()
    assert "see whether it runs" in failure(url, ("PING",))
