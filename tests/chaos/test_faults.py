"""The short form of each scenario: whatever happens, no request fails and no reply is wrong."""

import pytest

from loadtest.chaos.scenarios import SCENARIOS


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "schema"])  # tests/service/http/test_schema.py
def test_no_promise_is_broken_when_there_are_faults(testbed, name):
    assert [problem for result in SCENARIOS[name](testbed) for problem in result.problems] == []
