"""Outcomes of requests, as planted in tests."""

from loadtest.chaos.result import Outcome


def outcome(at=0.0, status=200, ms=5.0, failures=(), **more):
    return Outcome(at, 0.1, ms, status, failures, **more)
