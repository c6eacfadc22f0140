"""The list of scenarios."""

from loadtest.chaos.scenarios import DEFAULT, SCENARIOS


def test_all_scenarios_run_by_default_but_the_soak_and_what_needs_ray():
    assert set(SCENARIOS) - set(DEFAULT) == {"shards", "soak"}
    assert set(DEFAULT) <= set(SCENARIOS)
