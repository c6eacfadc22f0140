"""Types of columns by their values, whatever type they were written in."""

import datetime as dt

import pyarrow as pa
import pytest

from model.infer.columns import quoted
from model.infer.reading import read_frames

NAN = float("nan")
DAY = dt.date(2024, 2, 29)
NOON = dt.datetime(2024, 2, 29, 12)


@pytest.mark.parametrize(("values", "kind", "read"), [
    (pa.array(["1", "", "-20", "NaN"]), "integer", [1, None, -20, None]),
    (pa.array(["1.0", "20", "\\N"]), "integer", [1, 20, None]),
    (pa.array([123.0, NAN, 7.0]), "integer", [123, None, 7]),
    (pa.array([1, None, 3], pa.uint64()), "integer", [1, None, 3]),
    (pa.array([2**63, 1], pa.uint64()), "text", [str(2**63), "1"]),
    (pa.array([1.5, NAN, float("inf")]), "number", [1.5, None, None]),
    (pa.array(["1e-3", "2", "None"]), "number", [0.001, 2.0, None]),
    (pa.array(["007", "010"]), "text", ["007", "010"]),
    (pa.array(["True", "false", None]), "boolean", [True, False, None]),
    (pa.array([True, None]), "boolean", [True, None]),
    (pa.array(["a", "b"]).dictionary_encode(), "text", ["a", "b"]),
    (pa.array(["2024-02-29", None]), "date", [DAY, None]),
    (pa.array(["2024-02-29T12:00:00Z", "2024-02-29 14:00:00+02:00"]), "time", [NOON, NOON]),
    (pa.array([DAY]), "date", [DAY]),
    (pa.array([NOON], pa.timestamp("ns", "Europe/Paris")), "time", [NOON]),
    (pa.array([["a", None], None, []]), "list", [["a"], None, []]),
    (pa.array([[1, 2], [3]]), "list", [["1", "2"], ["3"]]),
    (pa.array([[1.0, NAN], [3.0]]), "list", [["1"], ["3"]]),
    (pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)), "list", [["1", "2"], ["3", "4"]]),
    (pa.array([None, None], pa.null()), "empty", [None, None]),
    (pa.array(["", "nan"]), "empty", [None, None]),
    (pa.array([{"a": 1}]), "other", [None]),
    (pa.array([b"x"]), "other", [None]),
    (pa.array([[[1]]]), "other", [None]),
    (pa.array([dt.time(1)]), "other", [None])])
def test_the_type_is_that_of_the_values(values, kind, read):
    log = read_frames({"events": pa.table({"a column": values})})
    (column,) = log.columns["events"]
    assert column.type == ("empty" if kind == "other" else kind)
    assert [value for value, in log.con.execute('SELECT "a column" FROM events').fetchall()] == read
    assert (column.rows, column.nulls) == (len(read), sum(value is None for value in read))


def test_a_column_that_is_nearly_of_numbers_says_where_it_is_not():
    log = read_frames({"events": pa.table({"price": [str(n) for n in range(40)] + ["n/a", "12,5"]})})
    (column,) = log.columns["events"]
    assert (column.type, column.note) == (
        "text", "read as text: row 40 has 'n/a', which is no number, as are 2 of 42 values")


def test_names_are_quoted_whatever_they_hold():
    log = read_frames({"events": pa.table({'a"b; DROP TABLE events': [1]})})
    assert log.con.execute(f"SELECT {quoted(log.columns['events'][0].name)} FROM events").fetchall() == [(1,)]
