"""Units of a log's timestamps."""

import pyarrow as pa
import pytest

from model.data.clocks import per_second


@pytest.mark.parametrize(("clock", "units"), [(pa.timestamp("s"), 1), (pa.timestamp("ms", "UTC"), 1_000),
                                              (pa.timestamp("ns"), 1_000_000_000), (pa.int64(), 1)])
def test_integers_are_seconds_and_timestamps_say_their_unit(clock, units):
    assert per_second(clock) == units
