from service.cache.circuit_breaker import CircuitBreaker


def test_calls_are_allowed_before_any_failure():
    breaker = CircuitBreaker(pause=1000)
    assert all(breaker.allows() for _ in range(3))
    assert not breaker.success()


def test_calls_are_refused_right_after_a_failure():
    breaker = CircuitBreaker(pause=1000)
    assert breaker.failure()
    assert not breaker.failure()  # it was open already
    assert not any(breaker.allows() for _ in range(3))


def test_one_call_is_allowed_when_the_pause_is_over(monkeypatch):
    now = 100.0
    monkeypatch.setattr("service.cache.circuit_breaker.time.monotonic", lambda: now)
    breaker = CircuitBreaker(pause=5)
    breaker.failure()
    now = 106.0
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    now = 112.0  # the one who tried never reported back
    assert breaker.allows()
    assert breaker.success()
    assert all(breaker.allows() for _ in range(3))
