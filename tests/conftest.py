"""Fixtures of all tests: a tiny sealed bundle and a real Redis."""

import gc
import os
import secrets
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

sys.path.insert(0, str(Path(__file__).parent.parent))  # so that tests can import each other as `tests.…`

from loadtest.processes.redis_server import RedisServer
from tests.tiny_bundle import write_tiny_bundle

settings.register_profile("busy machine", deadline=None)  # 200 ms an example is what Hypothesis gives it
settings.load_profile("busy machine")

TOGETHER = {
    "one world": ("tests/loadtest/bench/", "tests/loadtest/demo/", "tests/loadtest/growth/",
                  "tests/loadtest/rivals/test_queries.py"),
    "one Ray": ("tests/model/cluster/",),
}
"""Tests that share what takes half a minute to make: the world of the fixture `grown`, and a Ray."""


class _ByFileOrTogether(LoadFileScheduling):
    """As `--dist loadfile`, but one process gets all tests that share something, so that it is made once."""

    def _split_scope(self, nodeid: str) -> str:
        for name, places in TOGETHER.items():
            if nodeid.startswith(places):
                return name
        return super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config, log):
    return _ByFileOrTogether(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_finish():
    """Thousands of modules and tests live to the end: the garbage collector need not look at them again."""
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory):
    """A sealed bundle that nobody may change: 300 ads, 40 users, two tasks. See tests/tiny_bundle.py."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def stacked_bundle(tmp_path_factory):
    """The tiny bundle as a stack, which nobody may change either: level 1 has a scorer of its own."""
    folder = tmp_path_factory.mktemp("bundles") / "stacked"
    write_tiny_bundle(folder, stacked=True)
    return folder


@pytest.fixture(scope="session")
def campaign_bundle(tmp_path_factory):
    """The tiny bundle with twelve campaigns of 25 ads, c0 to c11, those of the categories; nobody may change it."""
    folder = tmp_path_factory.mktemp("bundles") / "campaigns"
    write_tiny_bundle(folder, campaigns=True)
    return folder


@pytest.fixture(scope="session")
def context_bundle(tmp_path_factory):
    """The tiny bundle with a model that reads hour and position, which nobody may change."""
    folder = tmp_path_factory.mktemp("bundles") / "context"
    write_tiny_bundle(folder, context=True)
    return folder


@pytest.fixture
def fresh_bundle(tmp_path):
    """A tiny bundle with towers of its own, so that no other test has cached its embeddings."""
    write_tiny_bundle(tmp_path / "fresh", seed=secrets.randbits(32))
    return tmp_path / "fresh"


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    """A Redis that others may use too: that of REDIS_URL, else one of this session."""
    if os.environ.get("REDIS_URL"):
        yield os.environ["REDIS_URL"]
    else:
        with RedisServer.start(tmp_path_factory.mktemp("redis")) as server:
            yield server.url


@pytest.fixture
def own_redis(tmp_path):
    """A Redis process of one test, which may stop, freeze or kill it."""
    with RedisServer.start(tmp_path) as server:
        yield server
