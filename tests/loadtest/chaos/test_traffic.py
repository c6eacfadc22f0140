"""Background load of a scenario."""

import gc

import pytest

from loadtest.chaos.traffic import Traffic
from loadtest.processes.redis_server import free_port


def test_traffic_raises_when_nothing_listens(testbed):
    traffic = Traffic([("127.0.0.1", free_port())], testbed.answers, 50.0)
    with pytest.raises(OSError), traffic:
        traffic.spend(30.0)
    assert traffic.outcomes == []
    assert gc.isenabled()
