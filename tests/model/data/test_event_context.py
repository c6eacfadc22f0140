"""Context of events: ids by sorted value, unknown where nothing is said; columns that are missing or wrong are told."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_store.declaration.spec import FieldSpec
from model.data.load import joined, load_dataset
from model.data.tables import DataError
from model.sources import parquet
from tests.model.tiny_log import TINY_SPEC

HOUR, POSITION = (FieldSpec("hour", "categorical", model=True),
                  FieldSpec("position", "categorical", model=True, serve_as="2"))


@pytest.fixture
def told(tiny):
    """The tiny log with hour and position in its events."""
    tiny.spec = replace(TINY_SPEC, context_fields=(FieldSpec("inventory", "categorical"), HOUR, POSITION))
    tiny.tables["events"] = (tiny.tables["events"].append_column("hour", pa.array(["9", "10", None, "9", "23"]))
                             .append_column("position", pa.array([1, 2, 2, None, 3])))
    return tiny


def test_values_get_ids_in_their_order_as_text(told, tmp_path):
    data = load_dataset(told.save(tmp_path))
    assert data.encoder.vocabularies["context.hour"].tolist() == [b"10", b"23", b"9"]
    assert data.encoder.vocabularies["context.position"].tolist() == [b"1", b"2", b"3"]
    # by user and time: u10 d, u10 a, u10 b, u2 c, ü1 a
    assert data.train.context.tolist() == [[0, 2], [2, 3], [1, 2], [3, 0], [3, 1]]
    assert data.train.where(data.train.labels[:, 1] == 1).context.tolist() == [[1, 2]]


def test_values_of_test_events_alone_are_unknown(told, tmp_path):
    events = told.tables["events"]
    told.tables["test_events"] = events.set_column(events.column_names.index("hour"), "hour",
                                                   pa.array(["9", "11", "23", None, "10"]))
    data = load_dataset(told.save(tmp_path))
    assert data.test.context[:, 0].tolist() == [2, 1, 0, 0, 3]
    assert data.encoder.vocabularies["context.hour"].tolist() == [b"10", b"23", b"9"]
    both = joined(data.train, data.test)
    assert (len(both), sorted(both.context[:, 0].tolist())) == (10, [0, 0, 0, 1, 1, 2, 2, 3, 3, 3])


def test_ids_do_not_depend_on_how_many_events_are_read_at_a_time(told, tmp_path, monkeypatch):
    whole = load_dataset(told.save(tmp_path)).train.context
    monkeypatch.setattr("model.data.load.EVENT_BATCH", 2)
    np.testing.assert_array_equal(load_dataset(tmp_path).train.context, whole)


def test_a_log_whose_model_reads_no_context_has_none(tiny, tmp_path):
    tiny.spec = replace(TINY_SPEC, context_fields=(FieldSpec("hour", "categorical"),))
    data = load_dataset(tiny.save(tmp_path))
    assert data.train.context is None
    assert joined(data.train, data.train).context is None


@pytest.mark.parametrize(("column", "values", "said"), [
    ("hour", None, "column 'hour' is missing"),
    ("hour", ["9", "", "9", "9", "9"], "column 'hour', row 1: value '' is empty"),
    ("hour", [0.5] * 5, "column 'hour', row 0: value 0.5 is not a whole number"),
    ("position", ["1"] * 5, r"to serve position as '2', but no row of events.parquet .* such as 1")])
def test_columns_that_do_not_fit_are_told(told, tmp_path, column, values, said):
    if values is None:
        told.tables["events"] = told.tables["events"].drop_columns(column)
    else:
        told.change("events", column, pa.array(values))
    with pytest.raises(DataError, match=said):
        load_dataset(told.save(tmp_path))


def test_the_columns_of_your_own_log_are_kept(told, tmp_path):
    parquet.write(told.save(tmp_path / "mine"), tmp_path / "data")
    events = pq.read_table(tmp_path / "data" / "events.parquet")
    assert events.schema.field("position").type == pa.string()
    assert events["position"].to_pylist() == ["1", "2", "2", None, "3"]
