"""Calls through the Python client, while their only replica comes and goes."""

import pytest

from loadtest.chaos.client_calls import blocking_calls, client_calls
from tests.loadtest.chaos.guarantees import held


@pytest.mark.long
@pytest.mark.parametrize(("scenario", "name"), [(client_calls, "client"), (blocking_calls, "client-blocking")])
def test_no_call_fails_when_the_replica_is_restarted_overloaded_and_swapped(testbed, scenario, name):
    phases = ("before", "restarted", "overloaded", "swapped", "after")
    facts = held(scenario(testbed), name, phases=phases)[name].facts
    assert facts["tries"]["429"] > 0  # of the overload
    assert sum(facts["tries"].values()) > facts["calls"]  # of the restart
    assert set(facts["added_ms"]) == set(phases) - {"before"}
