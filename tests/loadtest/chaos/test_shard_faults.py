"""A shard killed, and roots swapped, on a local Ray under load."""

import pytest

from loadtest.chaos.shard_faults import shard_faults
from tests.loadtest.chaos.guarantees import held

pytest.importorskip("ray", reason="the extra `cluster` is not installed")


@pytest.mark.long
def test_no_request_fails_when_shards_die_and_none_is_degraded_when_roots_are_swapped(testbed):
    results = held(shard_faults(testbed), "shard killed", "roots swapped")
    assert results["shard killed"].facts["kills"] == 1
    facts = results["roots swapped"].facts
    assert (facts["swaps and rollbacks"], facts["mixed"], facts["of_the_root_before"]) == (2, 0, 0)
    assert sum(row["degraded"] for row in results["shard killed"].phases.values()) > 0
