"""A small shared file: replaced whole, only after a look at what it holds, and known again by its stamp."""

import json

import pytest

from index_store.bundle import shared_file


def test_file_is_replaced_whole_and_gets_another_stamp(tmp_path):
    path = tmp_path / "state"
    assert shared_file.stamp(path) is None
    first = shared_file.replace(path, {"a": 1}, lambda: None)
    assert shared_file.stamp(path) == first
    assert shared_file.replace(path, {"a": 1}, lambda: None) != first
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


def test_file_stays_when_the_look_at_it_objects(tmp_path):
    path = tmp_path / "state"
    before = shared_file.replace(path, "ours", lambda: None)

    def object_to_it():
        raise KeyError("theirs")

    with pytest.raises(KeyError):
        shared_file.replace(path, "other", object_to_it)
    assert (shared_file.stamp(path), path.read_text()) == (before, '"ours"\n')


def test_error_is_raised_when_the_folder_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        shared_file.replace(tmp_path / "none" / "state", "ours", lambda: None)
