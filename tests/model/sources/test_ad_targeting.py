"""Rows of an ads library as predicates."""

import pytest

from index_store.targeting.predicates import parse_predicate
from model.data.tables import DataError
from model.sources.ad_targeting import AUDIENCE, PLACE, bracket, circles_of, predicate_of, values_of
from tests.model.sources.snap import ADS, COLUMNS, HARBOUR, ISLANDS

ROWS = {ad["ad_id"]: dict.fromkeys(COLUMNS, "") | ad for ad in ADS}


def test_each_column_becomes_a_clause():
    assert predicate_of(ROWS["e5"]) == {"all": [
        {"field": "years", "at_least": 18, "at_most": 34}, {"field": "sex", "in": ["FEMALE"]},
        {"field": "state", "in": ["North", "South"]}]}
    assert predicate_of(ROWS["d4"]) == {"all": [
        {"field": "years", "at_least": 35}, {"field": "os", "in": ["IOS"]}, {"field": "postal", "in": ["0012", "0034"]},
        {"not": {"field": "state", "in": ["North"]}}]}
    assert predicate_of(ROWS["b2"])["all"][-1] == {"field": "demographics", "in": [
        "Household Income ( $125,000-$149,999)", "Occupation (Farming, Fish or Forestry)"]}


def test_included_places_of_all_kinds_are_alternatives():
    assert predicate_of(ROWS["c3"])["all"][1:] == [
        {"any": [{"field": "metro", "in": ["Port"]},
                 {"field": "place", "near": [{"lat": 10.5, "lon": -20.25, "km": 5.0}]}]},
        {"field": "place", "away_from": [{"lat": 0.0, "lon": 179.9, "km": 30.0},
                                         {"lat": 12.0, "lon": -20.0, "km": 2.5}]}]


def test_predicates_are_of_the_grammar():
    kinds = {field.name: field.kind for field in (*AUDIENCE, PLACE)}
    for row in ROWS.values():
        parse_predicate(predicate_of(row), kinds)


@pytest.mark.parametrize(("text", "ages"), [("18+", (18, None)), ("35++", (35, None)), ("18-34", (18, 34)),
                                            ("17-", (None, 17))])
def test_brackets_are_read(text, ages):
    assert bracket(text) == ages


def test_lists_are_split_between_values_only():
    assert values_of(" b,a (x, y), b,") == ["a (x, y)", "b"]
    assert [circle.km for circle in circles_of(f"{HARBOUR},{ISLANDS}")] == [5, 30, 2.5]


@pytest.mark.parametrize(("call", "text", "says"), [
    (bracket, "young", "age is 'young'; a bracket reads 18-34"),
    (circles_of, "somewhere", "radius is 'somewhere'"),
    (circles_of, "latitude 95;longitude 3;radius 4", "radius.lat is 95; give degrees from -90 to 90"),
    (circles_of, "latitude 5;longitude 3;radius -4", "radius.km is -4; give a radius above 0"),
])
def test_an_entry_is_refused_when_it_cannot_be_read(call, text, says):
    with pytest.raises(DataError) as caught:
        call(text)
    assert says in str(caught.value)
