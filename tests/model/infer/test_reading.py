"""Sources that are no log, and tables that are told apart by their names; test_proposed.py reads all that are one."""

import duckdb
import pyarrow as pa
import pytest

from index_store.declaration.values import FeatureError
from model.infer.reading import read_frames, read_source
from tests.model.infer.tables import part, wide, write_csv, write_parquet


def test_codes_in_the_names_of_folders_stay_text(tmp_path):
    write_parquet(tmp_path / "store=007" / "a.parquet", {"item_id": [1]})
    column = read_source(str(tmp_path)).column("events", "store")
    assert (column.type, column.example) == ("text", "007")


def test_tables_of_a_database_are_told_apart_by_their_names(tmp_path):
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute("CREATE TABLE Clicks AS SELECT 1 AS user_id, 2 AS item_id; "
                    "CREATE TABLE products AS SELECT 2 AS item_id, 9.5 AS price")
    log = read_source(str(tmp_path / "shop.duckdb"))
    assert {name: [c.name for c in columns] for name, columns in log.columns.items()} == {
        "events": ["user_id", "item_id"], "ads": ["item_id", "price"]}


def test_a_database_without_events_names_its_tables_and_a_query(tmp_path):
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute("CREATE TABLE a AS SELECT 1 AS x; CREATE TABLE b AS SELECT 1 AS x")
    with pytest.raises(FeatureError, match=r"has the tables a, b, and none is named events; give a query, such as "
                                           r".*log.a"):
        read_source(str(tmp_path / "shop.duckdb"))


def test_json_lines_and_files_of_any_name_that_hold_text_are_read(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"user_id": "a", "item_id": 1}\n{"user_id": "b", "item_id": 2}\n')
    assert read_source(str(tmp_path / "log.jsonl")).column("events", "item_id").distinct == 2
    (tmp_path / "log.inter").write_text("user_id:token\titem_id:token\na\t1\n")
    assert [c.name for c in read_source(str(tmp_path / "log.inter")).columns["events"]] == [
        "user_id:token", "item_id:token"]


@pytest.mark.parametrize(("make", "says"), [
    (lambda folder: folder, "is a folder without csv, tsv"),
    (lambda folder: write_csv(folder / "a.csv", {"x": [1]}) and write_csv(folder / "b.csv", {"y": [1]}) and folder,
     "the files of .* are of different tables: a.csv, b.csv; name them events, users and ads"),
    (lambda folder: f"{folder}/*.parquet", "holds no file that can be read"),
    (lambda folder: (folder / "a.parquet").write_bytes(b"PAR1") and folder / "a.parquet", "a.parquet cannot be read"),
    (lambda folder: (folder / "a.duckdb").write_bytes(b"x" * 5000) and folder / "a.duckdb", "is no DuckDB database"),
    (lambda folder: "SELECT 1 WHERE false", "the query holds no row"),
    (lambda folder: "SELECT", "the query cannot be read: Parser Error"),
    (lambda folder: folder / "nowhere.csv", "nowhere.csv does not exist; give a CSV or Parquet file")])
def test_what_is_no_log_is_refused(tmp_path, make, says):
    with pytest.raises(FeatureError, match=says):
        read_source(str(make(tmp_path)))


@pytest.mark.parametrize("frame", [7, "clicks.csv", [1, 2], {"a": [1, "x"]}])
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(FeatureError, match=r"events is a builtins\.\w+, which cannot be read as a table"):
        read_frames({"events": frame})


def test_a_column_that_there_is_not_is_named_with_the_nearest():
    log = read_frames({"events": pa.table(part(wide(), 0, 9))})
    with pytest.raises(FeatureError, match="events has no column 'clik'; did you mean 'click'"):
        log.column("events", "clik")
