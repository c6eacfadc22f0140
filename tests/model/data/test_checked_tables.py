"""Tables of a folder, read once and checked on the way."""

import numpy as np
import pyarrow as pa
import pytest

from model.data.checked_tables import SideTable, open_events
from model.data.tables import DataError


def test_columns_come_in_the_order_of_the_declaration_and_in_its_types(tiny, tmp_path):
    tiny.change("users", "age", pa.array([20, 40, 60], pa.int16()))
    tiny.tables["users"] = tiny.tables["users"].select(["interests", "country", "age", "user_id"])
    columns = SideTable.open(tiny.save(tmp_path), tiny.spec, "user").columns()
    assert [(field.name, str(column.type)) for field, column in columns] == [
        ("user_id", "string"), ("age", "double"), ("country", "string"), ("interests", "list<item: string>")]


def test_the_ids_are_checked_before_the_fields(tiny, tmp_path):
    tiny.change("users", "user_id", pa.array(["a", "a", "b"]))
    tiny.change("users", "age", pa.array([float("nan")] * 3))
    with pytest.raises(DataError, match="is already the id of row 0"):
        next(SideTable.open(tiny.save(tmp_path), tiny.spec, "user").columns())


def test_events_come_as_rows_in_the_order_of_the_file(tiny, tmp_path):
    train, test = open_events(tiny.save(tmp_path), tiny.spec)
    users, ads = (tiny.tables[name].column(0).combine_chunks() for name in ("users", "ads"))
    batches = list(train.batches(users, ads, 2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert np.concatenate([batch.users for batch in batches]).tolist() == [2, 1, 1, 0, 1]
    assert np.concatenate([batch.items for batch in batches]).tolist() == [1, 0, 3, 2, 1]
    assert np.concatenate([batch.labels for batch in batches])[:, 1].tolist() == [0, 1, 0, 0, 0]
    assert test is None


def test_train_events_may_not_be_empty_and_test_events_may(tiny, tmp_path):
    tiny.tables["test_events"] = tiny.tables["events"].slice(0, 0)
    assert open_events(tiny.save(tmp_path), tiny.spec)[1] is None
    tiny.tables["events"] = tiny.tables["events"].slice(0, 0)
    train, _ = open_events(tiny.save(tmp_path), tiny.spec)
    with pytest.raises(DataError, match="holds no event"):
        next(train.batches(pa.array([]), pa.array([]), 10))
