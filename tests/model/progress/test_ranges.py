"""Ranges of rows: each is made once, whole, and of what the key says."""

import numpy as np
import pytest

from model.progress.ranges import Range, RangeFiles, ranges_of


def numbers(items):
    return np.arange(items.first, items.end)


def all_numbers(ranges):
    return map(numbers, ranges)


def test_ranges_cover_the_rows_in_order():
    assert ranges_of(10, 4) == [Range(0, 4), Range(4, 8), Range(8, 10)]
    assert [len(own) for own in ranges_of(10, 4)] == [4, 4, 2]
    assert ranges_of(0) == []


def test_an_interrupted_work_is_continued_where_it_was(tmp_path, capsys):
    made = []

    def make(ranges):
        return map(of, ranges)

    def of(items):
        if items.first == 8:
            raise KeyboardInterrupt
        made.append(items.first)
        return numbers(items)

    with pytest.raises(KeyboardInterrupt):
        RangeFiles(tmp_path / "files", "k", ranges_of(10, 4)).make(make, "test")
    files = RangeFiles(tmp_path / "files", "k", ranges_of(10, 4))
    files.make(lambda ranges: (made.append(items.first) or numbers(items) for items in ranges), "test")
    assert made == [0, 4, 8]
    assert "test: 2 of 3 ranges are there already" in capsys.readouterr().err
    assert np.concatenate(list(files)).tolist() == list(range(10))


@pytest.mark.parametrize("name", ["000001.npy", "000001.partial"])
def test_a_range_that_is_half_written_is_made_anew_and_told(tmp_path, capsys, name):
    files = RangeFiles(tmp_path, "k", ranges_of(10, 4))
    files.make(all_numbers, "test")
    whole = (tmp_path / "000001.npy").read_bytes()
    (tmp_path / "000001.npy").unlink()
    (tmp_path / name).write_bytes(whole[:-5])
    files = RangeFiles(tmp_path, "k", ranges_of(10, 4))
    files.make(all_numbers, "test")
    assert f"{tmp_path / name}" in capsys.readouterr().err
    assert np.concatenate(list(files)).tolist() == list(range(10))
    assert not (tmp_path / "000001.partial").exists()


def test_ranges_of_something_else_are_made_anew_and_told(tmp_path, capsys):
    RangeFiles(tmp_path, "old", ranges_of(10, 4)).make(all_numbers, "test")
    for key, ranges in (("new", ranges_of(10, 4)), ("new", ranges_of(10, 5))):
        files = RangeFiles(tmp_path, key, ranges)
        assert "was made from something else" in capsys.readouterr().err
        files.make(lambda ranges: (2 * numbers(items) for items in ranges), "test")
        assert np.concatenate(list(files)).tolist() == list(range(0, 20, 2))
