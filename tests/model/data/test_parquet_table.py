"""Times keep their unit, and rows are counted through the part files of a table."""

from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.data.load import load_dataset
from model.data.parquet_table import ParquetTable, common_clock
from model.data.tables import DataError
from model.sources import parquet
from tests.model.data.logs import as_spark, brought_in


@pytest.mark.parametrize(("unit", "zone"), [("ms", None), ("us", None), ("ns", None), ("us", "UTC"),
                                            ("ns", "Europe/Amsterdam")])
def test_clicks_within_a_second_keep_their_order(tiny, tmp_path, unit, zone):
    # In the file user u10 clicks b, d, a; by the clock, within one second, a, d, b.
    second = 1_700_000_000 * {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    tiny.change("events", "timestamp", pa.array([second, second + 3, second + 2, second, second + 1],
                                                pa.timestamp(unit, zone)))
    train = brought_in(tiny, tmp_path).train
    assert train.items[train.users == 0].tolist() == [0, 3, 1]
    assert (train.timestamps[train.users == 0] - second).tolist() == [1, 2, 3]
    raw = load_dataset(tmp_path / "log").train  # the source folder is read as exactly
    assert raw.timestamps.tolist() == train.timestamps.tolist()


def test_int96_keeps_nanoseconds(tiny, tmp_path):
    times = pa.array([0, 3, 2, 0, 1], pa.timestamp("ns"))
    tiny.change("events", "timestamp", times)
    source = tiny.save(tmp_path / "log")
    pq.write_table(tiny.tables["events"], source / "events.parquet", use_deprecated_int96_timestamps=True)
    parquet.write(source, tmp_path / "out")
    assert load_dataset(tmp_path / "out").train.timestamps.tolist() == [1, 2, 3, 0, 0]


def test_an_int96_time_beyond_nanoseconds_is_refused_and_not_wrapped(tiny, tmp_path):
    tiny.change("events", "timestamp", pa.array([datetime(2024, 1, 1)] * 4 + [datetime(9999, 12, 31)],
                                                pa.timestamp("us")))
    source = tiny.save(tmp_path / "log")
    pq.write_table(tiny.tables["events"], source / "events.parquet", use_deprecated_int96_timestamps=True)
    with pytest.raises(DataError, match=r"'timestamp', row 4: value '9999-12-31.*' does not fit nanoseconds"):
        parquet.write(source, tmp_path / "out")


def test_train_and_test_share_the_finer_unit(tiny, tmp_path):
    tiny.change("events", "timestamp", pa.array([5, 9, 3, 1, 3], pa.timestamp("ms")))
    tiny.tables["test_events"] = tiny.tables["events"].set_column(
        2, "timestamp", pa.array([20_001, 20_002, 20_003, 20_004, 20_005], pa.timestamp("us")))
    data = brought_in(tiny, tmp_path)
    assert data.train.timestamps.tolist() == [3_000, 3_000, 9_000, 1_000, 5_000]
    assert sorted(data.test.timestamps.tolist()) == [20_001, 20_002, 20_003, 20_004, 20_005]


@pytest.mark.parametrize(("train", "test", "says"), [
    (pa.int64(), pa.timestamp("s"), "holds timestamps without a time zone, but .*events.parquet holds integers"),
    (pa.timestamp("us"), pa.timestamp("us", "UTC"), "holds timestamps with a time zone, but"),
    (pa.date32(), pa.date32(), "has type date32.*leaves the order within a day open; give timestamps"),
    (pa.timestamp("ns"), pa.timestamp("s"), "write all timestamps in one coarser unit"),
])
def test_times_that_cannot_be_compared_are_refused(tiny, tmp_path, train, test, says):
    times = pa.array([10**10] * 5)
    tiny.change("events", "timestamp", times.cast(pa.int32(), safe=False).cast(train) if train == pa.date32()
                else times.cast(train))
    tiny.tables["test_events"] = tiny.tables["events"].set_column(
        2, "timestamp", pa.array([10**10] * 4 + [10**11]).cast(pa.int32(), safe=False).cast(test)
        if test == pa.date32() else pa.array([10**10] * 4 + [10**11]).cast(test))
    with pytest.raises(DataError, match=says):
        brought_in(tiny, tmp_path)


def test_a_null_time_is_refused_with_its_row(tiny, tmp_path):
    tiny.change("events", "timestamp", pa.array([1, 2, None, 4, 5], pa.timestamp("us")))
    with pytest.raises(DataError, match=r"column 'timestamp', row 2: value None is null; fill it in"):
        brought_in(tiny, tmp_path)


def test_a_table_counts_rows_through_its_parts(tmp_path):
    as_spark(pa.table({"x": ["a", "b", "c", "d", "e"]}), tmp_path / "t", 2)
    table = ParquetTable(tmp_path / "t", ["x"])
    assert table.rows == 5
    assert table.column(pa.field("x", pa.string())).to_pylist() == ["a", "b", "c", "d", "e"]
    batches = [(row, columns["x"].to_pylist()) for row, columns in table.batches(pa.schema([("x", pa.string())]), 2)]
    assert batches == [(0, ["a", "b"]), (2, ["c"]), (3, ["d", "e"])]
    assert table.place(3) == f"row 0 of {table.parts[1].path}"
    with pytest.raises(DataError, match=r"part-00001.*column 'x', row 1: value 'e' is wrong; mend it"):
        table.refuse("x", 4, "e", "is wrong", "mend it")


def test_a_clock_of_integers_is_int64_and_of_no_times_too(tmp_path):
    for name, values in (("a", pa.array([1], pa.int16())), ("b", pa.array([None]))):
        pq.write_table(pa.table({"timestamp": values}), tmp_path / name)
        assert common_clock([ParquetTable(tmp_path / name, ["timestamp"])]) == pa.int64()
