"""Days of a moving world as windows: a conversion is known from the day on which it comes."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.data.windows import day_folder
from model.follow.growing_log import GrownLog
from model.follow.world_windows import WorldWindows
from model.sources import parquet, synthetic_days
from model.sources.moving_world import DAY_SECONDS
from tests.model.follow.logs import WEEK

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


def test_conversions_are_learned_where_the_world_has_them(world, tmp_path):
    """Users see some ads again before they convert: the requests tell which impression it was."""
    log, windows = tmp_path / "0", WorldWindows(world)
    parquet.write(world, log)
    for after in range(DAYS):
        day = windows.next(after, 0.0, log)
        grown = GrownLog.of(log, day.window, 100_000, WEEK)
        log = tmp_path / f"{after + 1}"
        grown.write(log, grown.older, grown.new)
    found = [row for table in (grown.older, grown.new) for row in table.to_pylist() if row["request_id"] is not None]
    every = pa.concat_tables([pq.read_table(day_folder(world, at) / "events.parquet") for at in range(1, DAYS + 1)])
    truth = {row["request_id"]: (row["click"], int((row["conversion_at"] or day.ended_at) < day.ended_at))
             for row in every.to_pylist()}
    assert len(found) > 20_000
    for row in found:
        assert (row["click"], row["conversion"]) == truth[row["request_id"]]
