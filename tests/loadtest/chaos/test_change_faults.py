"""Writes under faults: none that was acknowledged is lost, none is made twice."""

from contextlib import closing

import pytest

from index_store.changes.change_log import Kind, Write
from index_store.changes.open_log import open_log
from loadtest.chaos.change_faults import Acknowledged, _compared, change_faults
from service.live.log_place import INDEX
from tests.loadtest.chaos.guarantees import held

FAULTS = ("worker killed", "service killed", "log killed", "log full")


@pytest.mark.long
def test_no_acknowledged_write_is_lost_or_made_twice_when_everything_is_killed(testbed):
    result = held(change_faults(testbed), "writes under faults",
                  phases=("before", *(f"during {fault}" for fault in FAULTS)))["writes under faults"]
    assert (result.facts["lost"], result.facts["twice"]) == (0, 0)
    assert result.facts["acknowledged"] > 20
    assert (result.facts["kills"], {name: found["times"] for name, found in result.facts["recovery_s"].items()}) == (
        3, dict.fromkeys(FAULTS, 1))
    assert result.facts["repeated"] > 0  # the log was away


def test_lost_and_repeated_writes_are_counted(tmp_path):
    with closing(open_log(str(tmp_path / "log"), INDEX)) as log:
        log.append([Write(kind=Kind.AD, id=f"ad-{number}", fields={}) for number in (1, 2, 2)])
    acknowledged = [Acknowledged("ad-1", 1, 1), Acknowledged("ad-2", 2, 1)]
    assert _compared(tmp_path / "log", acknowledged) == (0, 1)
    assert _compared(tmp_path / "log", [*acknowledged, Acknowledged("ad-9", 3, 1)]) == (1, 1)
    assert _compared(tmp_path / "log", [*acknowledged, Acknowledged("ad-2", 3, 2)]) == (0, 0)
