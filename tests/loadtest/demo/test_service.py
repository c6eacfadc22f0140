"""The service of the demo: the port and the Redis that it needs."""

import socket

import pytest
import redis

from loadtest.demo.service import DemoService, check_port, own_redis
from loadtest.demo.steps import DemoError
from loadtest.processes.children import Children
from loadtest.processes.redis_server import free_port


def test_a_taken_port_is_refused_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DemoError, match=rf"127\.0\.0\.1:{port} \(Address already in use\).*--port PORT"):
            check_port(port)
    check_port(port)


def test_own_redis_answers_until_the_children_end(tmp_path):
    with Children() as children:
        url = own_redis(children, tmp_path)
        with redis.Redis.from_url(url) as client:
            assert client.ping()
    with redis.Redis.from_url(url) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_a_bundle_that_cannot_be_served_is_reported_with_the_end_of_the_log(tmp_path):
    with Children() as children:
        service = DemoService(children, tmp_path / "nowhere", free_port(), None, tmp_path / "log")
        with pytest.raises(DemoError, match=r"exit status 1(.|\n)*nowhere: \.: is not a folder"):
            service.start()
