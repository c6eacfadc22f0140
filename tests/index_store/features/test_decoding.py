"""Decoding: what was encoded comes back, where a vocabulary knows it."""

from hypothesis import given, settings

from index_store.features.decoding import decoded
from tests.index_store.worlds import SPEC, UNSEEN, encoder, raw_values

ENCODER = encoder(3)


@settings(max_examples=60)
@given(raw_values(SPEC.user_fields))
def test_values_come_back_when_they_are_known(raw):
    found = decoded(ENCODER, "user", ENCODER.encode_user(raw), 0)
    assert list(found) == [field.name for field in SPEC.user_fields]
    assert abs(found["age"] - (31.7 if raw["age"] is None else raw["age"])) < 1e-3
    assert found["country"] == (None if raw["country"] is None else str(raw["country"]))
    assert sorted(found["interests"]) == sorted(map(str, raw["interests"] or []))


def test_values_are_missing_when_the_vocabulary_has_never_seen_them():
    ad = ENCODER.encode_item({"price": 2.0, "brand": UNSEEN, "tags": [UNSEEN, "a"]})
    assert decoded(ENCODER, "item", ad, 0) == {"price": 2.0, "brand": None, "tags": ["a"]}
