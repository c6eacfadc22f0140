"""The time that a call has."""

import pytest

from monn_hill.deadline import Deadline


def test_time_is_less_as_the_clock_goes_on():
    now = [100.0]
    deadline = Deadline(2.0, lambda: now[0])
    assert (deadline.seconds, deadline.left) == (2.0, 2.0)
    now[0] = 103.0
    assert deadline.left == -1.0


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
def test_call_is_refused_when_it_has_no_time(seconds):
    with pytest.raises(ValueError, match="give seconds above 0"):
        Deadline(seconds)
