"""Interaction files: `user item item` a line."""

import numpy as np
import pytest

from model.data.tables import DataError
from model.sources.lines import as_text, positives, read_lines, read_numbers


def test_lines_become_pairs_in_file_order(tmp_path):
    (tmp_path / "x.txt").write_text("7 3 1\n\n2\n0 5\n")
    users, items = read_lines(tmp_path, "x.txt")
    assert list(zip(users.tolist(), items.tolist(), strict=True)) == [(7, 3), (7, 1), (0, 5)]
    (tmp_path / "x.txt").write_text("")
    assert [len(column) for column in read_lines(tmp_path, "x.txt")] == [0, 0]


@pytest.mark.parametrize(("content", "says"), [
    (b"0 -1", "-1 is negative; every entry must be an integer >= 0"),
    (b"0 x", "'x'; every entry must be an integer"),
    (b"0 \xff", "every entry must be an integer"),
    (b"0 99999999999999999999", "every entry must be an integer"),
])
def test_an_entry_that_is_no_integer_is_refused(tmp_path, content, says):
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_lines(tmp_path, "x.txt")


def test_a_table_of_numbers_has_one_width(tmp_path):
    (tmp_path / "x").write_text("1 2\n3 4\n")
    assert read_numbers(tmp_path, "x", 2).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match="row 0 has 2 entries, expected 3"):
        read_numbers(tmp_path, "x", 3)
    with pytest.raises(DataError, match="y does not exist; --source must name the folder"):
        read_numbers(tmp_path, "y", 3)


def test_numbers_become_text_and_the_missing_one_null():
    assert as_text(np.array([0, 7, 10]), missing=0).to_pylist() == [None, "7", "10"]


def test_positives_have_no_times():
    events = positives(np.array([1, 2]), np.array([3, 4]), click=np.array([True, False]))
    assert events.to_pylist() == [{"user_id": "1", "ad_id": "3", "timestamp": 0, "click": 1},
                                  {"user_id": "2", "ad_id": "4", "timestamp": 0, "click": 0}]
