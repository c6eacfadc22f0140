"""The log after a window: new rows are in, ended ads and forgotten users are out, late labels are where they belong."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.data.load import load_dataset
from model.data.tables import read_spec
from model.data.windows import Window, window_schema
from model.follow.growing_log import GrownLog
from tests.model.follow.logs import WEEK


def rows(table):
    """The rows, without the requests of events."""
    return [tuple(value for name, value in row.items() if name != "request_id") for row in table.to_pylist()]


@pytest.fixture
def window(tmp_path, log):
    """A window of one impression, and nothing else."""
    spec = read_spec(log)
    (tmp_path / "window").mkdir()
    pq.write_table(events(log, ("u2", "a", 20, 0, 0)), tmp_path / "window" / "events.parquet")
    return Window.read(tmp_path / "window", spec)


def events(log, *found):
    """Rows of a window; those without a request name none."""
    schema = window_schema(read_spec(log))
    return pa.Table.from_pylist([dict(zip(schema.names, (*row, None), strict=False)) for row in found], schema)


def test_a_window_adds_its_events_and_the_result_is_a_log(log, window, tmp_path):
    grown = GrownLog.of(log, window, 100, WEEK)
    assert rows(grown.older) == rows(pq.read_table(log / "events.parquet"))
    grown.write(tmp_path / "out", grown.older, grown.new)
    data = load_dataset(tmp_path / "out")
    assert (len(data.train), len(data.test)) == (5, 1)
    assert data.user_ids.tolist() == [b"u10", b"u2", "ü1".encode()]


def test_the_oldest_events_go_as_new_ones_come(log, window):
    grown = GrownLog.of(log, window, 4, WEEK)
    assert sorted(row[2] for row in rows(grown.older)) == [3, 5, 9]


def test_test_events_of_the_log_are_learned_next(log, window, tmp_path):
    test = events(log, ("u2", "b", 12, 1, 0)).drop_columns("request_id")
    pq.write_table(test, log / "test_events.parquet")
    assert len(GrownLog.of(log, window, 100, WEEK).older) == 6


def test_ended_ads_and_forgotten_users_go_with_their_events(log, window):
    gone = replace(window, ended=pa.table({"ad_id": ["b"]}), forgotten=pa.table({"user_id": ["ü1"]}))
    grown = GrownLog.of(log, gone, 100, WEEK)
    assert [row[:3] for row in rows(grown.older)] == [("u10", "d", 3), ("u2", "c", 1), ("u10", "a", 3)]
    assert grown.ads["ad_id"].to_pylist() == ["a", "c", "d"]
    assert grown.users["user_id"].to_pylist() == ["u2", "u10"]


def test_changed_rows_replace_the_old_ones_and_unknown_users_get_a_row(log, window):
    row = {"ad_id": "b", "price": 7.0, "brand": "q", "tags": ["t"], "targeting": None, "bid": 5, "bid_type": "CPM"}
    changed = replace(window, ads=pa.Table.from_pylist([row], window.ads.schema),
                      events=events(log, ("new", "b", 30, 1, 0), ("u2", "gone", 31, 0, 0)))
    grown = GrownLog.of(log, changed, 100, WEEK)
    assert rows(grown.ads.filter(pa.compute.equal(grown.ads["ad_id"], "b"))) == [("b", 7.0, "q", ["t"], None, 5, "CPM")]
    assert rows(grown.users)[-1] == ("new", 40.0, None, None)
    assert rows(grown.new) == [("new", "b", 30, 1, 0)]


def test_labels_of_a_window_go_to_impressions_of_any_window(log, window):
    labels = replace(window, events=events(log, ("u2", "a", 20, 0, 0, "r1")),
                     labels=events(log, ("u10", "d", 8, 1, 0), ("u10", "a", 2, 0, 1), ("u2", "a", 25, 1, 0, "r1")))
    grown = GrownLog.of(log, labels, 100, WEEK)
    assert ("u10", "d", 3, 1, 0) in rows(grown.older)
    assert ("u10", "a", 3, 1, 0) in rows(grown.older)
    assert rows(grown.new) == [("u2", "a", 20, 1, 0), ("u10", "a", 2, 0, 1)]


def test_a_late_conversion_of_an_ad_that_ended_is_read_and_learned_by_nobody(log, window, tmp_path):
    ended = replace(window, ended=pa.table({"ad_id": ["d"]}), labels=events(log, ("u10", "d", 8, 0, 1)))
    grown = GrownLog.of(log, ended, 100, WEEK)
    grown.write(tmp_path / "next", grown.older, grown.new)
    later = GrownLog.of(tmp_path / "next", replace(window, labels=events(log, ("u10", "d", 30, 0, 1))), 100, WEEK)
    for table in (grown.older, grown.new, later.older, later.new):
        assert "d" not in table["ad_id"].to_pylist()


def test_requests_are_kept_with_the_log(log, window, tmp_path):
    named = replace(window, events=events(log, ("u2", "a", 20, 0, 0, "r1")))
    grown = GrownLog.of(log, named, 100, WEEK)
    grown.write(tmp_path / "next", grown.older, grown.new)
    clicked = replace(window, events=events(log), labels=events(log, ("u2", "a", 30, 1, 0, "r1")))
    again = GrownLog.of(tmp_path / "next", clicked, 100, WEEK)
    assert again.older.to_pylist()[-1] == {"user_id": "u2", "ad_id": "a", "timestamp": 20, "click": 1,
                                           "conversion": 0, "request_id": "r1"}
    assert not len(again.new)


def test_a_split_is_the_same_for_a_window_and_loses_nothing(log, window):
    many = replace(window, events=events(log, *(("u2", "a", at, 0, 0) for at in range(20, 320))))
    grown = GrownLog.of(log, many, 1_000, WEEK)
    train, test = grown.split(3)
    assert rows(train) + rows(test) != []
    assert sorted(rows(train) + rows(test)) == sorted(rows(grown.older) + rows(grown.new))
    assert 15 <= len(test) <= 45
    assert train.equals(grown.split(3)[0])
    assert not train.equals(grown.split(4)[0])


def test_a_label_leaves_the_impression_its_context(log, tmp_path):
    features, old = log / "features.json", pq.read_table(log / "events.parquet")
    fields = [{"name": "hour", "kind": "categorical", "model": True}]
    features.write_text(json.dumps(json.loads(features.read_text()) | {"context_fields": fields}))
    pq.write_table(old.append_column("hour", pa.array(["9", "8", None, "9", "8"])), log / "events.parquet")
    (tmp_path / "window").mkdir()
    pq.write_table(events(log, ("u2", "a", 20, 0, 0, "7"), ("u2", "b", 21, 0, 0, None)),
                   tmp_path / "window" / "events.parquet")
    pq.write_table(events(log, ("u2", "a", 22, 1, 0, "6")), tmp_path / "window" / "labels.parquet")
    grown = GrownLog.of(log, Window.read(tmp_path / "window", read_spec(log)), 100, WEEK)
    assert rows(grown.new) == [("u2", "a", 20, 1, 0, "7"), ("u2", "b", 21, 0, 0, None)]
    grown.write(tmp_path / "out", grown.older, grown.new)
    data = load_dataset(tmp_path / "out")
    assert data.encoder.vocabularies["context.hour"].tolist() == [b"8", b"9"]
    assert data.test.context.tolist() == [[0], [0]]
