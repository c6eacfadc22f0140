"""What is kept of a change: the text that values are compared by, and what a key stands for."""

import pytest

from index_store.changes.change_log import Kind, Write
from index_store.changes.records import fingerprint, json_text


def test_equal_values_have_equal_texts():
    assert json_text({"b": [1, "ü"], "a": None}) == json_text({"a": None, "b": [1, "ü"]})
    assert len({json_text(value) for value in (1, 1.0, True, "1", None, [1])}) == 6


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_a_value_is_refused_when_it_is_not_json(value):
    with pytest.raises((ValueError, TypeError)):
        json_text({"a": value})


def test_a_key_stands_for_one_ad_and_its_fields():
    marks = [fingerprint(Write(kind=Kind.AD, id=ad_id, fields=fields, key=key, if_version=version))
             for ad_id, fields, key, version in [
                 ("a1", {"x": 1, "y": 2}, "k", None), ("a1", {"y": 2, "x": 1}, "k", 7),
                 ("a2", {"x": 1, "y": 2}, "k", None), ("a1", {"x": 1}, "k", None), ("a1", {"x": 1}, None, None)]]
    assert marks[0] == marks[1]
    assert len(set(marks)) == 4
    assert marks[-1] is None
