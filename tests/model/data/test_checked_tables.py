"""Tables of a folder, read once and checked on the way."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.data.checked_tables import SideTable, open_events
from model.data.load import load_dataset
from model.data.tables import DataError
from model.sources.parquet import write
from tests.model.data.logs import as_spark


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


@pytest.mark.parametrize("restricted", [0, 1])
def test_ads_of_part_files_without_targeting_are_for_everyone(tiny, tmp_path, restricted):
    source = tiny.save(tmp_path / "log")
    (source / "ads.parquet").unlink()
    for part in range(2):
        ads = tiny.tables["ads"].slice(2 * part, 2)
        if part == restricted:
            ads = ads.append_column("targeting", pa.array(['{"field": "age", "at_least": 21}', None]))
        as_spark(ads, source / "ads.parquet" / f"part-{part}", 1)
    write(source, tmp_path / "out")
    expected = [[1, 0, 0, 0], [0, 0, 1, 0]][restricted]  # ads b, a, c, d in the files
    for folder in (source, tmp_path / "out"):
        data = load_dataset(folder)
        of_ad = dict(zip(data.encoder.item_ids.tolist(), data.targeting.of_row.tolist(), strict=True))
        assert [of_ad[ad] for ad in (b"b", b"a", b"c", b"d")] == expected


def test_targeting_in_a_part_file_twice_is_refused_and_another_absent_column_too(tiny, tmp_path):
    source = tiny.save(tmp_path / "log")
    ads = tiny.tables["ads"].append_column("targeting", pa.nulls(4, pa.string()))
    pq.write_table(ads.append_column("targeting", pa.nulls(4, pa.string())), source / "ads.parquet")
    with pytest.raises(DataError, match="column 'targeting' appears twice; keep one"):
        SideTable.open(source, tiny.spec, "item")
    pq.write_table(ads.drop_columns(["brand"]), source / "ads.parquet")
    with pytest.raises(DataError, match=r"column 'brand' is missing, the file has .*; add it, or take it out of"):
        SideTable.open(source, tiny.spec, "item")
