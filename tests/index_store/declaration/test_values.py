"""Single values in canonical form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_store.declaration.values import MAX_ID_BYTES, MAX_LIST, FeatureError, as_key, as_keys, as_number


@given(st.integers(-10**20, 10**20))
def test_keys_of_integers_and_their_text_agree_when_made(number):
    assert as_key(number, "id") == as_key(str(number), "id") == as_key(str(number), "other")


@pytest.mark.parametrize(("value", "said"), [
    (2.0**54, "e.16 is a float"), (1.5, "1.5 is a float"), (None, "None is a NoneType"), ("", "is empty"),
    ("ü" * 65, f"has 130 bytes; at most {MAX_ID_BYTES}"), ("a\0b", "NUL"), ("\ud800", "not valid Unicode")])
def test_key_is_refused_when_it_cannot_be_one(value, said):
    with pytest.raises(FeatureError, match=said) as caught:
        as_key(value, "country")
    assert caught.value.name == "country"


@pytest.mark.parametrize(("value", "key"), [
    ("25", b"25"), (25, b"25"), (25.0, b"25"), (-3.0, b"-3"), (True, b"true"), (False, b"false"), ("true", b"true")])
def test_numbers_and_truth_values_are_the_text_that_tables_hold_for_them(value, key):
    assert as_key(value, "age") == key


def test_keys_are_refused_when_there_are_too_many():
    assert len(as_keys(["a"] * MAX_LIST, "likes")) == MAX_LIST
    with pytest.raises(FeatureError, match=f"has {MAX_LIST + 1} values"):
        as_keys(["a"] * (MAX_LIST + 1), "likes")


@pytest.mark.parametrize("value", ["1", True, None, float("nan"), float("inf"), 1e39, 10**400])
def test_number_is_refused_when_it_does_not_fit_32_bits(value):
    with pytest.raises(FeatureError, match="age is "):
        as_number(value, "age")
