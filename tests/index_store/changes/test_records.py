"""What is kept of a change: the text that fields are compared by, and what a key may be repeated for."""

import pytest

from index_store.changes.change_log import Change, KeyReusedError, Write
from index_store.changes.records import Record, json_text


def test_equal_fields_have_equal_texts():
    texts = {json_text({"b": [1, "ü"], "a": None}), json_text({"a": None, "b": [1, "ü"]})}
    assert texts == {r'{"a":null,"b":[1,"\u00fc"]}'}
    assert len({json_text({"a": value}) for value in (1, 1.0, True, "1", None)}) == 5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_text_is_refused_when_a_value_is_not_json(value):
    with pytest.raises((ValueError, TypeError)):
        json_text({"a": value})


def test_a_key_stands_for_one_ad_and_its_fields():
    change = Change(sequence=1, at=0.0, ad_id="a1", fields={"x": 1, "y": 2})
    record = Record(change=change, key="k", written='{"x":1}')
    assert record.repeated(Write(ad_id="a1", fields={"x": 1}, key="k"), 0) == change
    for ad_id, fields in (("a2", {"x": 1}), ("a1", {"x": 2})):
        with pytest.raises(KeyReusedError, match="'k'"):
            record.repeated(Write(ad_id=ad_id, fields=fields, key="k"), 0)
