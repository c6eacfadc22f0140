"""Two replicas of one change log."""

import time
from http.client import HTTPConnection

import pytest

from loadtest.processes.replicas import call, two_replicas


def test_both_follow_the_log_that_one_writes(tiny_bundle):
    with two_replicas(tiny_bundle, 1) as addresses:
        one, two = (HTTPConnection(*address, timeout=60) for address in addresses)
        version = call(one, "PATCH", "/ads/ad-0001", '{"status": "paused"}')["version"]
        deadline = time.monotonic() + 60
        while call(two, "GET", "/ads/ad-0001")["workers"][0]["as_of"] < version:
            assert time.monotonic() < deadline
        with pytest.raises(RuntimeError, match="GET /ads/none was answered with 404"):
            call(two, "GET", "/ads/none")
        for connection in (one, two):
            connection.close()
