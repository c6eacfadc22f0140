"""The change log replaced under a running service, and its disk full: refused, said, and mended."""

import pytest

from loadtest.chaos.log_faults import disk_full, log_replaced
from tests.loadtest.chaos.guarantees import held

FAULTS = ("older backup", "emptied", "log of another index")


@pytest.mark.long
def test_writes_are_refused_and_requests_answered_while_the_log_is_another(testbed):
    result = held(log_replaced(testbed), "log replaced",
                  phases=("before", *(f"during {fault}" for fault in FAULTS), "after"))["log replaced"]
    assert set(result.facts) == {*FAULTS, "load_average"}


@pytest.mark.long
def test_writes_are_refused_and_requests_answered_while_the_disk_is_full(testbed):
    assert held(disk_full(testbed), "log's disk full")["log's disk full"].facts["refused"] > 0
