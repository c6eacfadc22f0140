"""Attributes of a request: stored and given values in one form, and what is refused."""


import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.declaration.values import FeatureError
from index_store.targeting.attributes import check_context, encoded_bounds, request_attributes
from index_store.targeting.predicates import Within
from tests.index_store.worlds import SPEC, catalogue, encoder, raw_values

KINDS = SPEC.audience_kinds


@settings(max_examples=60, deadline=None)
@given(raw_values(SPEC.user_fields), raw_values(SPEC.user_fields).flatmap(
    lambda values: st.sets(st.sampled_from(sorted(values))).map(lambda names: {n: values[n] for n in names})))
def test_stored_values_count_as_given_ones_when_no_others_are_given(stored, given_values):
    encoded = encoder(1)
    features = encoded.encode_user({"age": 40.0} | {name: value for name, value in stored.items() if value is not None})
    known = stored | ({"age": 40.0} if stored["age"] is None else {})  # a table has no missing dense values
    both = request_attributes(encoded, KINDS.keys(), stored=features, given=given_values, context={})
    plain = request_attributes(encoded, KINDS.keys(), stored=None, given=known | given_values, context={})
    assert {name: sorted(set(value)) if isinstance(value, list) else value for name, value in both.items()} == {
        name: sorted(set(value)) if isinstance(value, list) else value for name, value in plain.items()}


@pytest.mark.parametrize(("context", "name", "says"), [
    ({"weather": 1}, "context.weather", "'weather' is unknown; this bundle knows ['device', 'hour', 'place', 'slots']"),
    ({"hour": "noon"}, "context.hour", "is 'noon', a str; give a number"),
    ({"hour": float("inf")}, "context.hour", "finite"),
    ({"device": 1.5}, "context.device", "1.5 is a float"),
    ({"device": ""}, "context.device", "is empty"),
    ({"place": [52, 4.9]}, "context.place", "context.place is [52, 4.9], a list; give an object with lat, lon"),
    ({"place": {"lat": 52, "lon": 4.9, "km": 3}}, "context.place", "has the keys ['km', 'lat', 'lon']; give an object"),
    ({"place": {"lat": -91, "lon": 4.9}}, "context.place.lat", "context.place.lat is -91; give degrees from -90 to 90"),
    ({"place": {"lat": 52, "lon": float("nan")}}, "context.place.lon", "is nan; give a finite 32-bit number"),
    ({"slots": "top"}, "context.slots", "is a str; give a list"),
    ({"slots": ["top", None]}, "context.slots", "None is a NoneType"),
])
def test_context_is_refused_when_a_field_is_unknown_or_unfit(context, name, says):
    with pytest.raises(FeatureError) as caught:
        check_context(encoder(1), context)
    assert caught.value.name == name
    assert says in str(caught.value)


@pytest.mark.parametrize("fields", [set(), {"age"}, {"device", "country"}])
def test_attributes_hold_the_needed_fields_alone_when_more_is_known(fields):
    encoder, *_ = catalogue(0, 3)
    attributes = request_attributes(encoder, fields, stored=encoder.encode_user({"age": 1.0, "country": "a"}),
                                    given={"interests": ["b"]}, context={"device": "c", "hour": 4})
    assert attributes.keys() == fields


def test_bounds_are_encoded_as_the_values_of_their_field_are():
    encoded = encoder(1)
    assert encoded_bounds(encoded, "user", Within("age", 31.7, None)) == (pytest.approx(0, abs=1e-6), np.inf)
    assert encoded_bounds(encoded, "user", Within("hour", None, 17.0)) == (-np.inf, 17.0)  # of the context: no scale
    lower, upper = encoded_bounds(encoded, "item", Within("price", 3.1 - 0.7, 3.1 + 0.7))
    assert (lower, upper) == (pytest.approx(-1, abs=1e-6), pytest.approx(1, abs=1e-6))
