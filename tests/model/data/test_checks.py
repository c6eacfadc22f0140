"""Checks of single columns, by table and row."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.data import checks
from model.data.parquet_table import ParquetTable
from model.data.tables import DataError
from tests.model.tiny_log import TINY_SPEC


@pytest.fixture
def table(tmp_path):
    pq.write_table(pa.table({"x": list("abcdef")}), tmp_path / "t.parquet")
    return ParquetTable(tmp_path / "t.parquet", ["x"])


def test_good_columns_pass(table):
    checks.check_keys(table, "x", pa.array(["a", None, "é" * 64]), nullable=True)
    checks.check_unique(table, "x", pa.array(["a", "b"]))
    checks.check_dense(table, "x", pa.array([0.0, -3e38]), optional=False)
    checks.check_dense(table, "x", pa.array([0.0, None, float("nan")]), optional=True)
    checks.check_lists(table, "x", pa.array([["a"], None, []], pa.list_(pa.string())))
    checks.check_numbers(table, "x", pa.array([1, 2]), 0)
    checks.check_labels(table, TINY_SPEC, np.array([[0, 1], [0, 0]]), 0)


@pytest.mark.parametrize(("check", "says"), [
    (lambda t: checks.check_keys(t, "x", pa.array(["a", None]), nullable=False), "row 1: value None is null"),
    (lambda t: checks.check_keys(t, "x", pa.array(["a"] * 5 + ["x" * 129]), nullable=True), "row 5.*more than 128"),
    (lambda t: checks.check_unique(t, "x", pa.array(list("abcab"))), "row 3: value 'a' is already the id of row 0"),
    (lambda t: checks.check_dense(t, "x", pa.array([1.0, 3.5e38]), optional=True), "row 1: value 3.5e.38 is not a fin"),
    (lambda t: checks.check_dense(t, "x", pa.array([1.0, None]), optional=False), 'row 1: .*"optional": true'),
    (lambda t: checks.check_lists(t, "x", pa.array([["a"], [], ["b", ""]])), "row 2: value '' is empty"),
    (lambda t: checks.check_numbers(t, "x", pa.array([1, None]), 3), "row 4: value None is null"),
    (lambda t: checks.check_labels(t, TINY_SPEC, np.array([[0, 0], [1, -1]]), 2), "'buy', row 3: value -1 is not a"),
    (lambda t: checks.rows_of(t, "x", pa.array(["a", "q"]), pa.array(["a"]), "ads.parquet", 2),
     "row 3: value 'q' is not in ads.parquet"),
])
def test_a_bad_value_is_named_by_row(table, check, says):
    with pytest.raises(DataError, match=says):
        check(table)


def test_a_row_without_a_positive_is_refused_on_a_log_of_positives(table):
    spec = dataclasses.replace(TINY_SPEC, negatives="sampled")
    checks.check_labels(table, spec, np.array([[0, 1], [1, 0]]), 0)
    with pytest.raises(DataError, match=r"row 4 has label 0 in all of \['click', 'buy'\]"):
        checks.check_labels(table, spec, np.array([[0, 1], [0, 0]]), 3)


def test_rows_of_ids_are_their_places_in_the_other_table(table):
    found = checks.rows_of(table, "x", pa.array(["b", "a", "b"]), pa.array(["a", "b"]), "ads.parquet")
    assert found.tolist() == [1, 0, 1]
    assert found.dtype == np.int32


def test_the_first_true_entry_of_a_mask_is_found():
    assert checks.first_true(pa.array([None, False, True, True])) == 2
    assert checks.first_true(pa.array([False, None])) == -1
