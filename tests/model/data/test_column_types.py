"""Columns of other types: text that is not UTF-8, lists of nothing."""

from dataclasses import replace

import pyarrow as pa
import pytest

from index_store.features.tower_inputs import dense_inputs
from model.data.tables import DataError
from tests.model.data.logs import brought_in, latin_1

NOT_UTF8 = b"caf\xe9"


@pytest.mark.parametrize(("table", "column", "values", "row"), [
    ("users", "user_id", [b"u2", NOT_UTF8, b"u1"], 1),
    ("users", "country", [None, b"nl", NOT_UTF8], 2),
    ("ads", "ad_id", [b"a", b"b", b"c", NOT_UTF8], 3),
    ("events", "ad_id", [b"a", b"b", NOT_UTF8, b"c", b"a"], 2),
])
def test_text_that_is_not_utf8_is_refused_with_file_column_and_row(tiny, tmp_path, table, column, values, row):
    tiny.change(table, column, latin_1(values))
    with pytest.raises(DataError, match=rf"{table}.parquet: column '{column}', row {row}: .*xe9' is not UTF-8; write"):
        brought_in(tiny, tmp_path)


def test_text_that_is_not_utf8_in_a_list_is_refused_with_its_row(tiny, tmp_path):
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 1, 3, 3], pa.int32()), latin_1([b"new", b"sale", NOT_UTF8]))
    tiny.change("ads", "tags", lists)
    with pytest.raises(DataError, match=r"ads.parquet: column 'tags', row 2: .* is not UTF-8"):
        brought_in(tiny, tmp_path)


def test_a_predicate_that_is_not_utf8_is_refused(tiny, tmp_path):
    tiny.tables["ads"] = tiny.tables["ads"].append_column("targeting", latin_1([None, None, NOT_UTF8, None]))
    with pytest.raises(DataError, match=r"column 'targeting', row 2: .* is not UTF-8"):
        brought_in(tiny, tmp_path)


def test_lists_of_nothing_are_read_as_empty(tiny, tmp_path):
    tiny.change("ads", "tags", pa.array([[], None, [], []], pa.list_(pa.null())))
    data = brought_in(tiny, tmp_path)
    assert data.items.multi[0].indptr.tolist() == [0, 0, 0, 0, 0]
    tiny.change("ads", "tags", pa.array([[], None, [None], []], pa.list_(pa.null())))
    with pytest.raises(DataError, match=r"column 'tags', row 2: value None is null; drop it from the list"):
        brought_in(tiny, tmp_path)


def test_string_views_are_read_as_text(tiny, tmp_path):
    tiny.change("ads", "brand", pa.array(["x", "y", None, "x"], pa.string_view()))
    tiny.change("ads", "tags", pa.array([["new"], ["sale", "new"], None, []], pa.list_(pa.string_view())))
    data = brought_in(tiny, tmp_path)
    assert data.encoder.vocabularies["item.brand"].tolist() == [b"x", b"y"]
    assert data.items.categorical[:, 0].tolist() == [2, 1, 0, 1]
    assert [data.items.multi[0].row(row).tolist() for row in range(4)] == [[2, 1], [1], [], []]


def test_a_string_view_that_is_not_utf8_is_refused_with_its_row(tiny, tmp_path):
    raw = pa.array([b"x", NOT_UTF8, b"x", None], pa.binary_view())
    tiny.change("ads", "brand", pa.Array.from_buffers(pa.string_view(), 4, raw.buffers(), 1))
    with pytest.raises(DataError, match=r"ads.parquet: column 'brand', row 1: .*xe9' is not UTF-8; write it as UTF-8"):
        brought_in(tiny, tmp_path)


def test_lists_of_a_fixed_size_are_read(tiny, tmp_path):
    tiny.change("ads", "tags", pa.array([["new", "hot"], None, ["sale", "new"], None], pa.list_(pa.string(), 2)))
    data = brought_in(tiny, tmp_path)
    assert data.encoder.vocabularies["item.tags"].tolist() == [b"hot", b"new", b"sale"]
    assert [data.items.multi[0].row(row).tolist() for row in range(4)] == [[], [2, 1], [3, 2], []]


def test_booleans_are_labels_and_not_times(tiny, tmp_path):
    tiny.change("events", "timestamp", pa.array([True, False, True, True, False]))
    with pytest.raises(DataError, match="'timestamp' has type bool, which cannot be read as int64; convert it"):
        brought_in(tiny, tmp_path)


def test_what_pandas_makes_of_integers_beside_missing_values_is_read_as_integers(tiny, tmp_path):
    tiny.change("users", "user_id", pa.array([2.0, 10.0, 7.0]))
    tiny.change("ads", "brand", pa.array([3.0, float("nan"), None, 12.0]))
    tiny.change("ads", "tags", pa.array([[1.0], [2.0, 1.0], None, []]))
    tiny.change("events", "user_id", pa.array([7.0, 10.0, 10.0, 2.0, 10.0], pa.float32()))
    tiny.change("events", "timestamp", pa.array([5.0, 9.0, 3.0, 1.0, 3.0]))
    tiny.change("events", "click", pa.array([1.0, 1.0, 0.0, 0.0, 1.0]))
    data = brought_in(tiny, tmp_path)
    assert data.user_ids.tolist() == [b"10", b"2", b"7"]
    assert data.encoder.vocabularies["item.brand"].tolist() == [b"12", b"3"]
    assert [data.items.multi[0].row(row).tolist() for row in range(4)] == [[2, 1], [1], [], []]
    assert data.train.timestamps.tolist() == [3, 3, 9, 1, 5]
    assert data.train.labels[:, 0].tolist() == [0, 1, 1, 0, 1]


def test_truth_values_are_categorical_as_text_and_dense_as_numbers(tiny, tmp_path):
    tiny.change("users", "country", pa.array([True, None, False]))
    tiny.change("users", "age", pa.array([True, False, False]))
    data = brought_in(tiny, tmp_path)
    assert data.encoder.vocabularies["user.country"].tolist() == [b"false", b"true"]
    assert data.encoder.encode_user({"country": True}).categorical.tolist() == [[2]]
    assert data.encoder.scales["user.age"][0] == pytest.approx(1 / 3)


def test_missing_dense_values_are_missing_offline_and_in_requests(tiny, tmp_path):
    age, price = tiny.spec.user_fields[0], tiny.spec.item_fields[0]
    tiny.spec = replace(tiny.spec, user_fields=(replace(age, optional=True), *tiny.spec.user_fields[1:]),
                        item_fields=(replace(price, optional=True), *tiny.spec.item_fields[1:]))
    tiny.change("users", "age", pa.array([20.0, None, 60.0]))
    tiny.change("ads", "price", pa.array([1.0, float("nan"), 3.0, float("nan")]))
    data = brought_in(tiny, tmp_path)
    assert data.encoder.scales == {"user.age": (40.0, 20.0), "item.price": (2.0, 1.0)}
    assert dense_inputs(data.spec, "user", data.users.dense).tolist() == [[0, 1], [-1, 0], [1, 0]]
    assert dense_inputs(data.spec, "item", data.items.dense).tolist() == [[0, 1], [-1, 0], [1, 0], [0, 1]]
    assert dense_inputs(data.spec, "user", data.encoder.encode_user({"age": None}).dense).tolist() == [[0, 1]]
    ad = data.encoder.encode_item({"price": None, "brand": None, "tags": []})
    assert dense_inputs(data.spec, "item", ad.dense).tolist() == [[0, 1]]
