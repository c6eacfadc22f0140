"""A redis-server that starts, restarts, freezes, and says why it did not start."""

import pytest
import redis

from loadtest.processes.children import Children
from loadtest.processes.redis_server import RedisServer, RedisStartError, free_port


def test_server_is_empty_when_it_was_killed_and_launched_again(tmp_path):
    with RedisServer.start(tmp_path) as server:
        server.client.set("key", "value")
        server.kill()
        with pytest.raises(redis.ConnectionError):
            server.client.ping()
        server.launch()
        assert server.client.get("key") is None
        assert server.url == f"redis://127.0.0.1:{server.port}/0"


def test_nothing_is_answered_when_it_is_frozen(own_redis):
    with redis.Redis(port=own_redis.port, socket_timeout=0.2) as client:
        own_redis.freeze()
        with pytest.raises(redis.TimeoutError):
            client.ping()
    own_redis.thaw()
    assert own_redis.client.ping()


def test_log_is_named_when_an_option_is_refused(tmp_path):
    with pytest.raises(RedisStartError, match=f"did not start on 127.0.0.1:.*{tmp_path}/redis.log"):
        RedisServer.start(tmp_path, "--no-such-option", "1")
    assert "no-such-option" in (tmp_path / "redis.log").read_text()


def test_process_ends_with_its_owner_when_children_spawn_it(tmp_path):
    with Children() as children:
        server = RedisServer(tmp_path, free_port(), spawn=children.start)
        server.launch()
        assert server.process.poll() is None
    assert server.process.poll() == 0
    server.client.close()
