"""Distances on the globe against the haversine formula, and positions that are refused."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from index_store.declaration.values import FeatureError
from index_store.targeting.geography import (
    LARGEST_KM,
    Circle,
    Position,
    as_circle,
    as_position,
    haversine_of,
    haversines,
    unit_vectors,
)
from tests.index_store.worlds import kilometres

LATITUDES = st.floats(-90, 90) | st.sampled_from([-90.0, -89.999, 0.0, 89.999, 90.0])
LONGITUDES = st.floats(-180, 180) | st.sampled_from([-180.0, -179.999, 0.0, 179.999, 180.0])
POINTS = st.tuples(LATITUDES, LONGITUDES)


@settings(max_examples=300, deadline=None)
@given(POINTS, st.lists(POINTS, min_size=1, max_size=5), st.floats(0.01, LARGEST_KM))
def test_points_lie_within_a_circle_when_the_formula_says_so(here, points, km):
    vectors = unit_vectors(*np.array(points).T)
    within = haversines(vectors, Position(*here)) <= haversine_of(np.array([km]))[0]
    for point, found in zip(points, within, strict=True):
        apart = kilometres({"lat": here[0], "lon": here[1]}, {"lat": point[0], "lon": point[1]})
        assume(abs(apart - km) > 1e-3 + 1e-3 * (apart > 20_000))  # near the antipode the sphere is flat to 64 bits
        assert found == (apart <= km)


@pytest.mark.parametrize(("here", "there", "km"), [
    ((0.0, 180.0), (0.0, -180.0), 0.001),
    ((90.0, 0.0), (90.0, 137.0), 0.001),
    ((10.0, 179.99), (10.0, -179.99), 2.5),
    ((89.99, 0.0), (89.99, 180.0), 2.5),
    ((52.3702, 4.8952), (52.3702, 4.8952), 0.001),
])
def test_points_are_close_across_poles_and_date_line(here, there, km):
    assert haversines(unit_vectors(*np.array([there]).T), Position(*here)) <= haversine_of(np.array([km]))


def test_positions_and_circles_are_read():
    assert as_position({"lat": 52, "lon": -4.5}, "place") == Position(52.0, -4.5)
    assert as_circle({"km": 0.5, "lat": -90, "lon": 180}, "place") == Circle(-90.0, 180.0, 0.5)


@pytest.mark.parametrize(("value", "name", "says"), [
    (None, "place", "place is None, a NoneType; give an object with lat, lon, km"),
    ({"lat": 1, "lon": 2}, "place", "has the keys ['lat', 'lon']"),
    ({"lat": 1, "lon": 2, "km": True}, "place.km", "True, a bool; give a number"),
    ({"lat": 1, "lon": 2, "km": 20_016}, "place.km", "place.km is 20016; give a radius above 0, at most 20,015 km"),
    ({"lat": 1, "lon": 2, "km": float("inf")}, "place.km", "is inf; give a finite"),
])
def test_circle_is_refused_when_it_is_none(value, name, says):
    with pytest.raises(FeatureError) as caught:
        as_circle(value, "place")
    assert caught.value.name == name
    assert says in str(caught.value)
