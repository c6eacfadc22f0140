"""A Redis as a change log needs it."""

import pytest

from index_store.changes.redis_server import DURABLE
from loadtest.processes.redis_server import RedisServer

OPTIONS = [text for name, value in DURABLE.items() for text in (f"--{name}", value)]


@pytest.fixture(scope="session")
def durable_redis(tmp_path_factory):
    """One that all tests share, each with an index of its own."""
    with RedisServer.start(tmp_path_factory.mktemp("durable"), *OPTIONS) as server:
        yield server


@pytest.fixture
def own_durable_redis(tmp_path):
    """One of a single test, which may change or kill it."""
    with RedisServer.start(tmp_path, *OPTIONS) as server:
        yield server
