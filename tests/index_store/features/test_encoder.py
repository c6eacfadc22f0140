"""Encoding: the same value gives the same id however it is written, and what cannot be encoded is named."""

import numpy as np
import pytest

from index_store.declaration.spec import FeatureSpec, FieldSpec, KeyFamily, TaskSpec
from index_store.declaration.values import MAX_ID_BYTES, MAX_LIST, FeatureError
from index_store.features.encoder import FeatureEncoder

SPEC = FeatureSpec((FieldSpec("age", "dense"), FieldSpec("country", "categorical"), FieldSpec("likes", "multi")),
                   (FieldSpec("price", "dense"), FieldSpec("brand", "categorical")), (TaskSpec("click"),),
                   "impressions", (KeyFamily("brand", "brand", "match"), KeyFamily("near", "ad_id", "co_click", 3)),
                   history_length=3)


@pytest.fixture
def encoder():
    vocabularies = {"user.country": np.array([b"7", b"de", b"fr"]), "user.likes": np.array([b"a", b"b"]),
                    "item.brand": np.array([b"x"])}
    return FeatureEncoder(SPEC, vocabularies, {"user.age": (40.0, 10.0), "item.price": (0.0, 1.0)},
                          np.array([b"10", b"11", b"12", b"9"]))


def test_values_become_ids_when_they_are_known(encoder):
    features = encoder.encode_user({"age": 50, "country": "de", "likes": ["b", "never seen", "a"]})
    assert features.dense.tolist() == [[1.0]]
    assert features.categorical.tolist() == [[2]]
    assert features.multi[0].row(0).tolist() == [2, 1]
    assert (features.dense.dtype, features.categorical.dtype) == (np.float32, np.int32)


@pytest.mark.parametrize("raw", [{}, {"age": None, "country": None, "likes": None}])
def test_fields_become_mean_and_unknown_when_they_are_missing(encoder, raw):
    features = encoder.encode_user(raw)
    assert features.dense.tolist() == [[0.0]]
    assert features.categorical.tolist() == [[0]]
    assert len(features.multi[0].values) == 0


def test_integer_and_text_are_one_value_when_they_read_alike(encoder):
    assert encoder.encode_user({"country": 7}).categorical.tolist() == [[1]]
    assert encoder.encode_user({"country": "7"}).categorical.tolist() == [[1]]
    assert encoder.encode_user({"country": "07"}).categorical.tolist() == [[0]]


@pytest.mark.parametrize(("raw", "name", "said"), [
    ({"height": 1}, "height", "knows ['age', 'country', 'likes']"),
    ({"age": "50"}, "age", "is '50', a str; give a number"),
    ({"age": True}, "age", "a bool; give a number"),
    ({"age": [1.0]}, "age", "a list; give a number"),
    ({"age": float("nan")}, "age", "nan; give a finite"),
    ({"age": float("-inf")}, "age", "-inf; give a finite"),
    ({"age": 1e39}, "age", "1e+39; give a finite"),
    ({"age": 10**400}, "age", "give a finite"),
    ({"country": 1.5}, "country", "1.5 is a float; give text or an integer"),
    ({"country": {}}, "country", "{} is a dict"),
    ({"country": ""}, "country", "is empty"),
    ({"country": "x" * (MAX_ID_BYTES + 1)}, "country", f"{MAX_ID_BYTES + 1} bytes; at most {MAX_ID_BYTES}"),
    ({"country": "ü" * MAX_ID_BYTES}, "country", f"{2 * MAX_ID_BYTES} bytes"),
    ({"country": "d\0e"}, "country", "NUL"),
    ({"country": "\ud800"}, "country", "surrogate"),
    ({"likes": "a"}, "likes", "is a str; give a list"),
    ({"likes": {"a": 1}}, "likes", "is a dict; give a list"),
    ({"likes": ["a", None]}, "likes", "None is a NoneType"),
    ({"likes": ["a"] * (MAX_LIST + 1)}, "likes", f"{MAX_LIST + 1} values; at most {MAX_LIST}"),
])
def test_value_is_refused_when_it_cannot_be_encoded(encoder, raw, name, said):
    with pytest.raises(FeatureError) as caught:
        encoder.encode_user(raw)
    assert caught.value.name == name
    assert said in str(caught.value)
    assert str(caught.value) == f"{caught.value.fact}; {caught.value.remedy}"
    assert name in str(caught.value)


@pytest.mark.parametrize("depth", [100, 100_000])
def test_value_is_refused_in_few_words_when_it_is_nested_or_long(encoder, depth):
    nested = []
    for _ in range(depth):
        nested = [nested]
    for value in (nested, ["x" * depth] * 1000):
        with pytest.raises(FeatureError) as caught:
            encoder.encode_user({"likes": [value]})
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(("raw", "said"), [
    ({}, "ad feature 'price' is missing"), ({"price": None}, "price is None"),
    ({"price": 1, "brand": "a", "size": 2}, "'size'")])
def test_ad_is_refused_when_its_features_do_not_fit(encoder, raw, said):
    with pytest.raises(FeatureError, match=said):
        encoder.encode_item(raw)
