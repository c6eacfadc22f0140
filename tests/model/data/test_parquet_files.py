"""Part files in folders, and damage under a sound footer."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from model.data.load import load_dataset
from model.data.parquet_files import open_parquet, read_columns
from model.data.tables import DataError
from model.sources import parquet
from tests.model.data.logs import as_spark, brought_in, damage, latin_1


def test_folders_of_part_files_are_read_as_one_table(tiny, tmp_path):
    source = tiny.save(tmp_path / "log")
    expected = load_dataset(source)
    for name in ("users", "ads", "events"):
        (source / f"{name}.parquet").unlink()
        as_spark(tiny.tables[name], source / f"{name}.parquet", 2)
    as_spark(tiny.tables["events"].slice(1, 1), source / "test_events.parquet", 1)
    parquet.write(source, tmp_path / "out")
    data = load_dataset(tmp_path / "out")
    for own, other in ((data.user_ids, expected.user_ids), (data.train.items, expected.train.items),
                       (data.train.timestamps, expected.train.timestamps), (data.train.labels, expected.train.labels),
                       (data.items.categorical, expected.items.categorical)):
        assert np.array_equal(own, other)
    assert data.test.items.tolist() == [1]


def test_a_bad_value_in_a_folder_is_named_by_part_file_and_row(tiny, tmp_path):
    tiny.change("events", "ad_id", pa.array(["a", "b", "a", "a", "e"]))
    source = tiny.save(tmp_path / "log")
    (source / "events.parquet").unlink()
    as_spark(tiny.tables["events"], source / "events.parquet", 2)
    with pytest.raises(DataError, match=r"part-00001-1f0c.c000.snappy.parquet: column 'ad_id', row 1: value 'e'"):
        parquet.write(source, tmp_path / "out")


def test_an_id_that_two_part_files_hold_is_named_with_both(tiny, tmp_path):
    source = tiny.save(tmp_path / "log")
    (source / "ads.parquet").unlink()
    for part in ("part-0", "part-1"):
        as_spark(tiny.tables["ads"], source / "ads.parquet" / part, 1)
    with pytest.raises(DataError, match=r"part-1/.*row 0: value 'b' is already the id of row 0 of .*part-0/"):
        parquet.write(source, tmp_path / "out")


def test_keys_of_partitioned_folders_are_columns_of_text(tiny, tmp_path):
    source = tiny.save(tmp_path / "log")
    users, events = tiny.tables["users"], tiny.tables["events"]
    (source / "users.parquet").unlink()
    for row, country in enumerate(["007", "__HIVE_DEFAULT_PARTITION__", "d%2Fe"]):
        as_spark(users.slice(row, 1).drop_columns(["country"]), source / "users.parquet" / f"country={country}", 1)
    (source / "events.parquet").unlink()
    for click in (0, 1):
        chosen = events.filter(pc.equal(events["click"], click)).drop_columns(["click"])
        as_spark(chosen, source / "events.parquet" / "day=2024-05-01" / f"click={click}", 1)
    parquet.write(source, tmp_path / "out")
    data = load_dataset(tmp_path / "out")
    assert data.encoder.vocabularies["user.country"].tolist() == [b"007", b"d/e"]
    assert data.users.categorical[:, 0].tolist() == [0, 1, 2]
    assert data.train.labels.tolist() == [[0, 0], [1, 0], [1, 1], [0, 0], [1, 0]]


def test_a_key_that_is_no_number_is_refused_where_one_is_wanted(tiny, tmp_path):
    source = tiny.save(tmp_path / "log")
    (source / "events.parquet").unlink()
    as_spark(tiny.tables["events"].drop_columns(["click"]), source / "events.parquet" / "click=yes", 1)
    with pytest.raises(DataError, match="column 'click' is 'yes' by the name of its folder, which cannot be read as"):
        parquet.write(source, tmp_path / "out")


def test_a_folder_without_part_files_is_refused(tiny, tmp_path):
    source = tiny.save(tmp_path / "log")
    (source / "events.parquet").unlink()
    (source / "events.parquet").mkdir()
    (source / "events.parquet" / "_SUCCESS").touch()
    with pytest.raises(DataError, match=r"events.parquet is a folder without Parquet files"):
        parquet.write(source, tmp_path / "out")


def test_a_file_in_a_folder_that_is_not_part_of_the_table_is_to_be_removed(tiny, tmp_path):
    source = tiny.save(tmp_path / "log")
    (source / "ads.parquet").unlink()
    as_spark(tiny.tables["ads"], source / "ads.parquet", 2)
    stray = source / "ads.parquet" / "README.md"
    stray.write_text("Ads of May, made by the job `ads`.")
    with pytest.raises(DataError, match=r"README.md is not a Parquet file: .* remove it from the folder or let its "
                                        "name begin with _"):
        parquet.write(source, tmp_path / "out")
    stray.rename(stray.with_name("_README.md"))
    parquet.write(source, tmp_path / "out")
    stray = source / "events.parquet"
    stray.write_text("clicks")
    with pytest.raises(DataError, match=r"events.parquet is not a Parquet file: .*; write it again$"):
        parquet.write(source, tmp_path / "out")


@pytest.mark.parametrize(("table", "column"), [("users", "age"), ("ads", "brand"), ("events", "click")])
def test_a_damaged_page_is_refused_with_file_and_column(tiny, tmp_path, table, column):
    source = tiny.save(tmp_path / "log")
    damage(source / f"{table}.parquet", column)
    with pytest.raises(DataError, match=rf"{table}.parquet: column '{column}' cannot be read: .*the file is damaged"):
        parquet.write(source, tmp_path / "out")
    with pytest.raises(DataError, match=rf"{table}.parquet: column '{column}' cannot be read"):
        load_dataset(source)


def test_a_flipped_bit_in_a_data_folder_is_found_by_the_pages_checksum(tiny, tmp_path):
    brought_in(tiny, tmp_path)
    path = tmp_path / "out" / "ads.parquet"
    chunk = pq.read_metadata(path).row_group(0).column(1)
    content = bytearray(path.read_bytes())
    content[(chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"ads.parquet: column 'price' cannot be read: .*CRC"):
        load_dataset(tmp_path / "out")


def test_columns_of_an_open_file_name_their_damage(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), path)
    damage(path, "b")
    with open_parquet(path) as file, pytest.raises(DataError, match="column 'b' cannot be read"):
        read_columns(path, file, ["a", "b"])


@pytest.mark.parametrize("index", [pa.int8(), pa.int16(), pa.int32()])
@pytest.mark.parametrize(("table", "column", "codes"), [("ads", "brand", [0, None, 1, 0]),
                                                        ("events", "ad_id", [0, 0, 1, 0, 0])])
def test_text_that_is_not_utf8_is_named_by_its_row_in_a_dictionary(tiny, tmp_path, table, column, codes, index):
    values = latin_1([b"a", b"caf\xe9"])
    tiny.change(table, column, pa.DictionaryArray.from_arrays(pa.array(codes, index), values))
    with pytest.raises(DataError, match=rf"{table}.parquet: column '{column}', row 2: .*xe9' is not UTF-8; write it"):
        brought_in(tiny, tmp_path)


def test_text_that_is_not_utf8_is_named_by_its_row_in_lists_of_a_dictionary(tiny, tmp_path):
    words = pa.DictionaryArray.from_arrays(pa.array([0, 0, 1], pa.int8()), latin_1([b"new", b"caf\xe9"]))
    tiny.change("ads", "tags", pa.ListArray.from_arrays(pa.array([0, 1, 1, 3, 3], pa.int32()), words))
    with pytest.raises(DataError, match=r"ads.parquet: column 'tags', row 2: .*xe9' is not UTF-8; write it as UTF-8"):
        brought_in(tiny, tmp_path)
