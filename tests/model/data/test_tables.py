"""The table format: columns, and a folder that is complete or not there."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.data.tables import DataError, event_schema, prepare, read_spec, seal, side_schema, write_folder
from tests.model.tiny_log import TINY_SPEC


def test_columns_follow_the_declaration():
    assert side_schema(TINY_SPEC, "user").names == ["user_id", "age", "country", "interests"]
    assert side_schema(TINY_SPEC, "item", ["bid", "targeting", "bid_type"]).names == [
        "ad_id", "price", "brand", "tags", "targeting", "bid", "bid_type"]
    assert event_schema(TINY_SPEC).names == ["user_id", "ad_id", "timestamp", "click", "buy"]
    assert event_schema(TINY_SPEC).field("timestamp").type == pa.int64()
    assert event_schema(TINY_SPEC, pa.timestamp("ms")).field("timestamp").type == pa.timestamp("ms")


def test_a_folder_is_no_data_between_prepare_and_seal(tmp_path):
    seal(tmp_path, TINY_SPEC)
    assert read_spec(tmp_path) == TINY_SPEC
    prepare(tmp_path)
    with pytest.raises(DataError, match=r"features.json does not exist; name a folder"):
        read_spec(tmp_path)


def test_a_written_folder_has_the_types_of_the_format(tiny, tmp_path):
    tables = tiny.tables
    shuffled = tables["users"].select(["interests", "age", "country", "user_id"])
    write_folder(tmp_path, tiny.spec, shuffled, tables["ads"], tables["events"], None, {"recall": 0.5})
    assert pq.read_schema(tmp_path / "users.parquet").names == ["user_id", "age", "country", "interests"]
    assert pq.read_schema(tmp_path / "users.parquet").field("age").type == pa.float32()
    assert json.loads((tmp_path / "baseline.json").read_text()) == {"recall": 0.5}


def test_a_baseline_that_is_no_number_is_not_written(tiny, tmp_path):
    tables = tiny.tables
    with pytest.raises(ValueError, match="JSON"):
        write_folder(tmp_path, tiny.spec, tables["users"], tables["ads"], tables["events"], None,
                     {"recall": float("nan")})
    assert not (tmp_path / "features.json").exists()
