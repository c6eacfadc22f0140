"""Days of a moving world as windows: a conversion is known from the day on which it comes."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.data.windows import day_folder
from model.follow.world_windows import WorldWindows
from model.sources import synthetic_days
from model.sources.moving_world import DAY_SECONDS

DAYS = 4


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moving")
    synthetic_days.write(folder, 200, 300, 60_000, 3, DAYS, 0.05)
    return folder


def test_conversions_are_known_by_the_end_of_their_day_or_come_late(world):
    days = [WorldWindows(world).next(after, 0.0, world) for after in range(DAYS)]
    assert WorldWindows(world).next(DAYS, 0.0, world) is None
    assert [day.sequence for day in days] == [1, 2, 3, 4]
    every = pa.concat_tables([pq.read_table(day_folder(world, day) / "events.parquet") for day in range(1, DAYS + 1)])
    for day in days:
        converted = day.window.labels["timestamp"].to_pylist()
        assert all(day.ended_at - DAY_SECONDS <= at < day.ended_at for at in converted)
        assert set(day.window.labels["conversion"].to_pylist()) <= {1}
        assert len(day.window.events) == 6_000
        assert len(day.window.ads) == len(day.window.ended) == 10
    known = sum(at is not None and at < days[-1].ended_at for at in every["conversion_at"].to_pylist())
    found = [sum(day.window.events["conversion"].to_pylist()) for day in days]
    late = [len(day.window.labels) for day in days]
    assert sum(found) + sum(late) == known
    assert late[0] == 0
    assert min(late[1:]) > 0
