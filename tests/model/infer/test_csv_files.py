"""CSV files as people write them."""

import duckdb
import pytest

from index_store.declaration.values import FeatureError
from model.infer.csv_files import csv_query


def read(*files, partitions=False):
    result = duckdb.sql(csv_query(files, partitions=partitions))
    return result.columns, result.fetchall()


@pytest.mark.parametrize("text", ["a,b c\n1,\"x, y\"\n",
                                  "\ufeffa;b c\n1;x, y\n", "a\tb c\r\n1\tx, y\r\n", " a | b c \n1|x, y"])
def test_delimiter_mark_and_line_ends_are_found(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    assert read(tmp_path / "t.csv") == (["a", "b c"], [("1", "x, y")])


def test_files_of_other_columns_are_filled_up(tmp_path):
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("b;a;c\n3;4;5\n")
    assert read(tmp_path / "1.csv", tmp_path / "2.csv") == (["a", "b", "c"], [("1", "2", None), ("4", "3", "5")])


def test_the_index_that_pandas_writes_gets_a_name(tmp_path):
    (tmp_path / "t.csv").write_text(",a\n0,7\n")
    assert read(tmp_path / "t.csv")[0] == ["column_0", "a"]


@pytest.mark.parametrize(("text", "says"), [
    (b"", "has no header: its first line is empty"), (b"\n1,2\n", "has no header"),
    (b"ann,3.5\n", "holds the number 3.5"),
    (b"a,A\n1,2\n", "has the column 'a' twice"), (b"caf\xe9,b\n1,2\n", "cannot be read: 'utf-8'")])
def test_a_header_that_cannot_be_used_is_refused(tmp_path, text, says):
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(FeatureError, match=says):
        csv_query([tmp_path / "t.csv"], partitions=False)


def test_what_is_no_gzip_is_refused(tmp_path):
    (tmp_path / "t.csv.gz").write_text("a,b\n")
    with pytest.raises(FeatureError, match=r"t.csv.gz cannot be read: .*with gzip if its name ends in .gz"):
        csv_query([tmp_path / "t.csv.gz"], partitions=False)
