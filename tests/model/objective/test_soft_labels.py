"""Columns of a teacher's file, and the probabilities in it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.data.parquet_table import ParquetTable
from model.data.tables import DataError
from model.objective.soft_labels import probabilities, soft_label_schema
from tests.model.tiny_log import TINY_SPEC


def table_of(path, click=(0.25, 1.0), buy=(0.0, 0.5)):
    pq.write_table(pa.table({"user_id": ["u2"] * len(click), "ad_id": ["a"] * len(click),
                             "click": pa.array(click, pa.float64()), "buy": pa.array(buy, pa.float32())}), path)
    return ParquetTable(path, soft_label_schema(TINY_SPEC).names)


def test_columns_are_ids_and_tasks_and_the_time_of_an_impression():
    assert soft_label_schema(TINY_SPEC).names == ["user_id", "ad_id", "click", "buy"]
    of_events = soft_label_schema(TINY_SPEC, pa.timestamp("ms"))
    assert of_events.names == ["user_id", "ad_id", "timestamp", "click", "buy"]
    assert of_events.field("timestamp").type == pa.timestamp("ms")


def test_probabilities_have_a_column_for_each_task_in_their_order(tmp_path):
    found = probabilities(table_of(tmp_path / "soft.parquet"), TINY_SPEC)
    np.testing.assert_array_equal(found, np.array([[0.25, 0.0], [1.0, 0.5]], np.float32))


@pytest.mark.parametrize("bad", [-0.1, 1.1, None, float("nan")])
def test_what_is_no_probability_is_refused(tmp_path, bad):
    with pytest.raises(DataError, match=r"column 'buy', row 1: value .* is not a probability"):
        probabilities(table_of(tmp_path / "soft.parquet", buy=(0.0, bad)), TINY_SPEC)


def test_a_file_without_rows_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no pair"):
        probabilities(table_of(tmp_path / "soft.parquet", click=(), buy=()), TINY_SPEC)
