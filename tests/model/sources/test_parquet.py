import dataclasses
import re
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from model.data.load import load_dataset
from model.data.tables import DataError
from model.sources import parquet

NAN = float("nan")

BAD_VALUES = {
    "duplicate-user": ("users", "user_id", pa.array(["u2", "u10", "u2"]),
                       "users.parquet: column 'user_id', row 2: value 'u2' is already the id of row 0"),
    "null-id": ("ads", "ad_id", pa.array(["a", None, "c", "d"]), "column 'ad_id', row 1: value None is null"),
    "empty-id": ("ads", "ad_id", pa.array(["a", "b", "", "d"]), "column 'ad_id', row 2: value '' is empty"),
    "long-id": ("ads", "ad_id", pa.array(["a", "b", "c", "é" * 65]), "row 3: value 'ééé"),
    "nul-in-value": ("ads", "brand", pa.array(["x", "y\0", None, "x"]), "row 1: value 'y\\x00' contains a NUL"),
    "empty-value": ("users", "country", pa.array(["nl", "", "de"]), "column 'country', row 1: value '' is empty"),
    "nan-dense": ("users", "age", pa.array([1.0, 2.0, NAN]),
                  "column 'age', row 2: value nan is not a finite 32-bit number"),
    "null-dense": ("users", "age", pa.array([1.0, None, 2.0]), "column 'age', row 1: value None is not a finite"),
    "infinite-dense": ("users", "age", pa.array([float("-inf"), 0.0, 2.0]), "row 0: value -inf is not a finite"),
    "huge-dense": ("users", "age", pa.array([0.0, 1e39, 2.0]), "row 1: value 1e+39 is not a finite"),
    "null-in-list": ("ads", "tags", pa.array([["a"], None, ["b", None], []]),
                     "column 'tags', row 2: value None is null; drop it from the list"),
    "label-2": ("events", "click", pa.array([1, 1, 0, 2, 1], pa.int8()),
                "events.parquet: column 'click', row 3: value 2 is not a label; labels are 0 or 1"),
    "null-label": ("events", "buy", pa.array([0, None, 0, 0, 0], pa.int8()), "column 'buy', row 1: value None is null"),
    "null-timestamp": ("events", "timestamp", pa.array([0, 1, 2, 3, None]), "'timestamp', row 4: value None is null"),
    "unknown-ad": ("events", "ad_id", pa.array(["a", "b", "e", "c", "a"]),
                   "column 'ad_id', row 2: value 'e' is not in ads.parquet; add its row there or drop this one"),
    "unknown-user": ("events", "user_id", pa.array(["u2", "u3", "u2", "u2", "u2"]),
                     "column 'user_id', row 1: value 'u3' is not in users.parquet"),
}


@pytest.mark.parametrize(("table", "column", "values", "says"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_a_bad_value_is_refused_with_file_column_row_and_value(tiny, tmp_path, table, column, values, says):
    tiny.change(table, column, values)
    source = tiny.save(tmp_path / "log")
    with pytest.raises(DataError, match=re.escape(says)):
        parquet.write(source, tmp_path / "out")
    assert not (tmp_path / "out" / "features.json").exists()
    with pytest.raises(DataError, match=re.escape(says)):  # a folder that was written by hand meets the same checks
        load_dataset(source)


BAD_TYPES = {
    "dense-as-text": ("users", "age", pa.array(["20", "40", "60"]), "'age' has type string, which cannot be read as"),
    "categorical-as-fraction": ("ads", "brand", pa.array([1.0, 2.5, NAN, 3.0]), "'brand', row 1: value 2.5 is not a "
                                                                                "whole"),
    "list-of-fractions": ("ads", "tags", pa.array([[], [1.0, 1.5], [], []]), "'tags', row 1: value 1.5 is not a whole"),
    "id-as-lossy-float": ("users", "user_id", pa.array([1.0, 2.0, 2.0**60]), "row 2: value 1.152921504606847e+18 is a "
                                                                             "flo"),
    "multi-without-lists": ("ads", "tags", pa.array(["new"] * 4), "'tags' has type string"),
    "label-as-share": ("events", "click", pa.array([0.0, 1.0, 0.0, 0.7, 1.0]), "row 3: value 0.7 is not a whole "
                                                                               "number"),
    "timestamp-as-text": ("events", "timestamp", pa.array(["1"] * 5), "'timestamp' has type string"),
    "unsigned-overflow": ("events", "timestamp", pa.array([2**63] * 5, pa.uint64()), "use numbers that fit 64 bits"),
}


@pytest.mark.parametrize(("table", "column", "values", "says"), BAD_TYPES.values(), ids=BAD_TYPES)
def test_a_type_without_a_counterpart_is_refused(tiny, tmp_path, table, column, values, says):
    tiny.change(table, column, values)
    with pytest.raises(DataError, match=re.escape(says)):
        parquet.write(tiny.save(tmp_path / "log"), tmp_path / "out")


@pytest.mark.parametrize(("table", "column", "says"), [
    ("users", "age", "'age' is missing, the file has ['user_id', 'country', 'interests']; add it, or take it out of"),
    ("events", "timestamp", "'timestamp' is missing"),
    ("events", "buy", "'buy' is missing"),
    ("ads", "ad_id", "'ad_id' is missing"),
])
def test_a_missing_column_is_named(tiny, tmp_path, table, column, says):
    tiny.tables[table] = tiny.tables[table].drop_columns([column])
    with pytest.raises(DataError, match=re.escape(says)):
        parquet.write(tiny.save(tmp_path / "log"), tmp_path / "out")


def test_a_row_without_a_label_is_refused_when_the_log_holds_positives_only(tiny, tmp_path):
    tiny.spec = dataclasses.replace(tiny.spec, negatives="sampled")
    with pytest.raises(DataError, match="row 2 has label 0 in all of"):
        parquet.write(tiny.save(tmp_path / "log"), tmp_path / "out")


def test_other_types_are_brought_into_the_normal_form(tiny, tmp_path):
    tiny.change("users", "user_id", pa.array([2, 10, 7]))
    tiny.change("users", "age", pa.array([20, 40, 60]))
    tiny.change("ads", "brand", pa.array(["x", "y", None, "x"]).dictionary_encode())
    tiny.change("ads", "tags", pa.array([[1], [2, 1], None, []], pa.large_list(pa.int32())))
    tiny.change("events", "user_id", pa.array([7, 10, 10, 2, 10], pa.int16()))
    tiny.change("events", "timestamp", pa.array([datetime(1970, 1, 1, 0, 0, s, tzinfo=UTC) for s in (5, 9, 3, 1, 3)]))
    tiny.change("events", "click", pa.array([True, True, False, False, True]))
    tiny.tables["events"] = tiny.tables["events"].append_column("campaign", pa.array([1, 2, 3, 4, 5]))
    tiny.tables["test_events"] = tiny.tables["events"]
    parquet.write(tiny.save(tmp_path / "log"), tmp_path / "out")
    data = load_dataset(tmp_path / "out")
    assert data.user_ids.tolist() == [b"10", b"2", b"7"]
    assert data.train.timestamps.tolist() == [3_000_000, 3_000_000, 9_000_000, 1_000_000, 5_000_000]
    assert data.train.labels[:, 0].tolist() == [0, 1, 1, 0, 1]
    assert data.encoder.vocabularies["item.tags"].tolist() == [b"1", b"2"]
    assert len(data.test) == 5


def test_a_log_of_positives_alone_is_refused_when_it_is_declared_as_impressions(tiny, tmp_path):
    tiny.change("events", "click", pa.array([1, 1, 0, 1, 1], pa.int8()))
    tiny.change("events", "buy", pa.array([0, 1, 1, 0, 0], pa.int8()))
    with pytest.raises(DataError, match=r'each of its 5 rows has a positive label.*declare "sampled"'):
        parquet.write(tiny.save(tmp_path / "log"), tmp_path / "out")
    assert not (tmp_path / "out" / "features.json").exists()
    tiny.spec = dataclasses.replace(tiny.spec, negatives="sampled")
    parquet.write(tiny.save(tmp_path / "log"), tmp_path / "out")
    assert len(load_dataset(tmp_path / "out").train) == 5


def test_test_events_may_all_be_positives(tiny, tmp_path):
    tiny.tables["test_events"] = tiny.tables["events"].slice(0, 2)
    parquet.write(tiny.save(tmp_path / "log"), tmp_path / "out")
    assert load_dataset(tmp_path / "out").test.labels[:, 0].tolist() == [1, 1]


def test_a_folder_of_part_files_in_out_is_not_replaced(tiny, tmp_path):
    (tmp_path / "out" / "events.parquet").mkdir(parents=True)
    with pytest.raises(DataError, match=r"events.parquet is a folder, and would be replaced by a file; name another"):
        parquet.write(tiny.save(tmp_path / "log"), tmp_path / "out")
    assert (tmp_path / "out" / "events.parquet").is_dir()


def test_rows_count_through_the_file_when_it_is_read_in_batches(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH", 2)
    tiny.change("events", "ad_id", pa.array(["a", "b", "a", "e", "a"]))
    with pytest.raises(DataError, match=r"column 'ad_id', row 3: value 'e'"):
        parquet.write(tiny.save(tmp_path / "log"), tmp_path / "out")
