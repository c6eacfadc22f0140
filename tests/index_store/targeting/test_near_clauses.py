"""Clauses about places, all at once, against each by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.targeting.geography import Circle, Position
from index_store.targeting.near_clauses import NO_CLAUSES, NearClauses
from index_store.targeting.predicates import Near
from tests.index_store.worlds import PLACES, RADII, kilometres

CIRCLES = st.builds(lambda place, km: Circle(*place.values(), km), st.sampled_from(PLACES), st.sampled_from(RADII))
CLAUSES = st.builds(Near, st.sampled_from(["home", "place"]), st.lists(CIRCLES, min_size=1, max_size=4).map(tuple),
                    st.booleans())
AMSTERDAM, UTRECHT = Circle(52.37, 4.9, 10), Circle(52.09, 5.12, 10)


@settings(max_examples=150, deadline=None)
@given(st.lists(CLAUSES, max_size=6), st.dictionaries(st.sampled_from(["home", "place", "other"]),
                                                      st.sampled_from(PLACES)))
def test_clauses_hold_when_each_does_by_the_formula(clauses, places):
    expected = []
    for clause in clauses:
        place = places.get(clause.field)
        within = place is not None and any(kilometres(place, one._asdict()) <= one.km for one in clause.circles)
        expected.append(place is not None and within != clause.outside)
    near = NearClauses.of(clauses)
    assert near.misfit() is None
    assert near.truth({name: Position(**place) for name, place in places.items()}).tolist() == expected


def test_neither_side_holds_without_a_position():
    near = NearClauses.of([Near("place", (AMSTERDAM,), False), Near("place", (AMSTERDAM,), True)])
    assert near.truth({}).tolist() == [False, False]
    assert near.truth({"place": Position(52.37, 4.9)}).tolist() == [True, False]
    assert near.truth({"place": Position(52.09, 5.12)}).tolist() == [False, True]
    assert len(NO_CLAUSES.truth({"place": Position(52.09, 5.12)})) == 0


@pytest.mark.parametrize(("change", "says"), [
    ({"field_of": np.array([0, 1], np.int32)}, "read fields 0 to 1, there are 1"),
    ({"outside": np.zeros(3, np.bool_)}, "are 2, with 3 sides and 3 starts"),
    ({"starts": np.array([0, 1])}, "are 2, with 2 sides and 2 starts"),
    ({"starts": np.array([0, 0, 3])}, "one or more each of the 3 circles"),
    ({"starts": np.array([0, 1, 2])}, "one or more each of the 3 circles"),
    ({"circles": np.array([[52, 4, 1], [52, 4, 1], [91, 4, 1.0]])}, "lies outside the globe"),
    ({"circles": np.array([[52, 4, 1], [52, 4, 1], [np.nan, 4, 1.0]])}, "lies outside the globe"),
])
def test_arrays_are_refused_when_they_do_not_fit(change, says):
    fields = vars(NearClauses.of([Near("place", (AMSTERDAM,), False), Near("place", (AMSTERDAM, UTRECHT), True)]))
    assert says in NearClauses(**fields | change).misfit()
