"""Who may try while nobody answers."""

import pytest

from monn_hill.gate import Gate


@pytest.fixture
def now():
    return [100.0]


@pytest.fixture
def gate(now):
    return Gate(lambda low, high: high, lambda: now[0])


def test_everybody_may_try_while_connections_are_made(gate):
    assert [gate.wait() for _ in range(3)] == [0.0] * 3


def test_one_may_try_at_a_time_and_ever_less_often_while_none_is_made(gate, now):
    for pause in (0.05, 0.1, 0.2, 0.4, 0.5, 0.5):
        gate.refused()
        assert gate.wait() == pytest.approx(2 * pause)  # the jitter is as long again
        now[0] += pause + 1e-6
        assert gate.wait() == 0.0
        assert gate.wait() == pytest.approx(2 * pause)  # the other goes first


def test_another_may_try_when_the_one_who_did_never_tells(gate, now):
    gate.refused()
    now[0] += 0.06
    assert gate.wait() == 0.0
    now[0] += 0.06
    assert gate.wait() == 0.0


def test_everybody_may_try_once_a_connection_is_made(gate):
    for _ in range(5):
        gate.refused()
    gate.passed()
    assert [gate.wait() for _ in range(3)] == [0.0] * 3
    gate.refused()
    assert gate.wait() == pytest.approx(0.1)
