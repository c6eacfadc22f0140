"""A window of the change log: whole rows of what changed, impressions, and the labels that came."""

import json
from contextlib import closing
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_store.changes.sqlite_log import SqliteLog
from model.data.tables import DataError, read_spec
from model.follow.gathering import Gathering
from tests.model.follow.logs import ad, event, user, written


def gathered(log, tmp_path, *writes):
    gathering = Gathering(log, read_spec(log))
    with closing(SqliteLog(written(tmp_path / "changes", writes), "ads")) as changes:
        gathering.add(changes.read(0))
    return gathering.window()


def rows(table):
    return [tuple(row.values()) for row in table.to_pylist()]


def test_impressions_are_events_and_clicks_and_conversions_labels(log, tmp_path):
    window = gathered(log, tmp_path, event("u2", "a", "impression", 100.5, request_id="r1"),
                      event("u2", "a", "click", 205, request_id="r1"), event("u10", "b", "impression", 400),
                      event("u2", "a", "conversion", 900))
    assert rows(window.events) == [("u2", "a", 100, 0, 0, "r1"), ("u10", "b", 400, 0, 0, None)]
    assert rows(window.labels) == [("u2", "a", 205, 1, 0, "r1"), ("u2", "a", 900, 0, 1, None)]


def test_the_time_of_an_event_is_that_of_its_entry_if_it_names_none(log, tmp_path):
    write = event("u2", "a", "impression", 0)
    del write.fields["at"]
    assert rows(gathered(log, tmp_path, write).events)[0][2] > 1_700_000_000


def test_a_state_gives_a_whole_row_and_leaves_the_rest_as_it_was(log, tmp_path):
    old = {"any": [{"field": "country", "in": ["nl"]}]}
    window = gathered(log, tmp_path, ad("a", features={"price": 3, "brand": "z", "tags": ["new"]}, bid=None),
                      ad("b", status="paused", bid={"micros": 700, "type": "CPM"}), ad("c", targeting=old),
                      ad("e", targeting=None),
                      ad("f", features={"price": 2.5, "brand": 7}, targeting=old, status="active"),
                      ad("d", status="deleted"), user("u2", country="fr"), user("new", age=1, interests=["tea"]))
    assert rows(window.ads) == [
        ("a", 3.0, "z", ["new"], None, None, None), ("b", 1.0, "x", ["new"], None, 700, "CPM"),
        ("c", 1.0, None, None, '{"any": [{"field": "country", "in": ["nl"]}]}', None, None),
        ("f", 2.5, "7", None, '{"any": [{"field": "country", "in": ["nl"]}]}', None, None)]
    assert rows(window.users) == [("u2", 40.0, "fr", None), ("new", 1.0, None, ["tea"])]
    assert rows(window.ended) == [("d",)]
    assert not len(window.events)


def test_nothing_is_left_of_a_user_who_is_forgotten_but_what_came_later(log, tmp_path):
    window = gathered(log, tmp_path, user("u2", country="fr"), event("u2", "a", "impression", 5),
                      event("u10", "a", "impression", 6), "u2", event("u2", "b", "impression", 7))
    assert rows(window.forgotten) == [("u2",)]
    assert rows(window.events) == [("u10", "a", 6, 0, 0, None), ("u2", "b", 7, 0, 0, None)]
    assert not len(window.users)


def test_timestamps_have_the_type_of_the_log(log, tmp_path):
    events = pq.read_table(log / "events.parquet")
    clock = pa.timestamp("ms", "UTC")
    pq.write_table(events.set_column(2, "timestamp", events["timestamp"].cast(clock)), log / "events.parquet")
    window = gathered(log, tmp_path, event("u2", "a", "impression", 1_700_000_000.25))
    assert window.events["timestamp"].type == clock
    assert window.events["timestamp"][0].as_py() == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_a_log_of_positives_gets_a_row_for_each_click(log, tmp_path):
    features = log / "features.json"
    features.write_text(features.read_text().replace('"impressions"', '"sampled"'))
    window = gathered(log, tmp_path, event("u2", "a", "impression", 1), event("u2", "a", "click", 2),
                      event("u2", "a", "click", 3), event("u2", "a", "conversion", 4),
                      event("u2", "b", "impression", 5), event("u10", "a", "conversion", 6))
    assert rows(window.events) == [("u2", "a", 2, 1, 0, None), ("u2", "a", 3, 1, 0, None)]
    assert rows(window.labels) == [("u2", "a", 4, 0, 1, None), ("u10", "a", 6, 0, 1, None)]


def test_events_that_no_task_is_about_are_left_out(log, tmp_path):
    features = log / "features.json"
    spec = json.loads(features.read_text())
    features.write_text(json.dumps(spec | {"tasks": spec["tasks"][:1]}))
    window = gathered(log, tmp_path, event("u2", "a", "click", 2), event("u2", "a", "conversion", 3))
    assert rows(window.labels) == [("u2", "a", 2, 1, None)]


def test_a_log_that_events_do_not_fit_is_refused(log):
    features = log / "features.json"
    features.write_text(features.read_text().replace('"conversion"', '"buy"'))
    with pytest.raises(DataError, match="has the task buy, but events of the change log are click or conversion"):
        Gathering(log, read_spec(log))


def test_integers_in_another_unit_than_seconds_are_refused(log):
    events = pq.read_table(log / "events.parquet")
    late = pa.array([1_700_000_000_000] * len(events), pa.int64())
    pq.write_table(events.set_column(2, "timestamp", late), log / "events.parquet")
    with pytest.raises(DataError, match="has the timestamp 1700000000000, which is not in seconds since 1970"):
        Gathering(log, read_spec(log))


def test_events_keep_the_context_that_the_model_reads(log, tmp_path, capsys):
    features, events = log / "features.json", pq.read_table(log / "events.parquet")
    fields = [{"name": "hour", "kind": "categorical", "model": True}, {"name": "inventory", "kind": "categorical"}]
    features.write_text(json.dumps(json.loads(features.read_text()) | {"context_fields": fields}))
    pq.write_table(events.append_column("hour", pa.array(["9"] * len(events))), log / "events.parquet")
    window = gathered(log, tmp_path, event("u2", "a", "impression", 1, context={"hour": 7, "inventory": "kids"}),
                      event("u2", "b", "impression", 2, context={"inventory": "kids"}),
                      event("u2", "b", "impression", 3), event("u2", "a", "click", 4, context={"hour": "7"}))
    assert rows(window.events) == [("u2", "a", 1, 0, 0, "7", None), ("u2", "b", 2, 0, 0, None, None),
                                   ("u2", "b", 3, 0, 0, None, None)]
    assert rows(window.labels) == [("u2", "a", 4, 1, 0, "7", None)]
    assert "2 of 3 impressions name no hour in their context" in capsys.readouterr().err
