"""Predicates: what is read, what is refused with its path, and which clause decides."""

import json

import pytest
from hypothesis import given, settings

from index_store.targeting.predicates import (
    MAX_CIRCLES,
    MAX_DEPTH,
    MAX_OPERANDS,
    MAX_PARTS,
    PredicateError,
    clauses_of,
    deciding_clause,
    parse_predicate,
    parse_text,
    to_json,
    to_text,
)
from tests.index_store.worlds import SPEC, plainly, predicates, raw_values

KINDS = SPEC.audience_kinds
AGE = {"field": "age", "at_least": 21}
HERE = {"lat": 52.37, "lon": 4.9, "km": 10}


def nested(depth):
    predicate = AGE
    for _ in range(depth - 1):
        predicate = {"not": predicate}
    return predicate


@pytest.mark.parametrize(("predicate", "path", "says"), [
    ([], "targeting", "is [], not an object; give"),
    ("age > 21", "targeting", "is 'age > 21', not an object"),
    (None, "targeting", "is None"),
    ({}, "targeting", "has the keys [], which do not make a predicate; give"),
    ({"all": [AGE], "any": [AGE]}, "targeting", "has the keys ['all', 'any']"),
    ({"nor": [AGE]}, "targeting", "has the keys ['nor']"),
    ({"all": AGE}, "targeting.all", "not a list; give a list of predicates"),
    ({"all": [AGE, {"not": {"any": [AGE, 7]}}]}, "targeting.all[1].not.any[1]", "is 7, not an object"),
    ({"not": [AGE]}, "targeting.not", "not an object"),
    ({"field": "age"}, "targeting", "has the keys ['field']"),
    ({"field": "age", "at_least": 1, "more": 2}, "targeting", "has the keys ['at_least', 'field', 'more']"),
    ({"all": [{"field": "height", "at_least": 1}]}, "targeting.all[0].field",
     "is 'height', not a field that can be read here; use one of age, country, device, hour, interests, "
     "place, slots"),
    ({"field": ["age"], "at_least": 1}, "targeting.field", "is ['age'], not a field"),
    ({"field": "age", "in": [1]}, "targeting.in", "'age' is a dense field; give at_least or at_most"),
    ({"field": "country", "at_most": 3}, "targeting.at_most", "'country' is a categorical field; give in"),
    ({"field": "interests", "at_least": 3, "at_most": 4}, "targeting.at_least", "'interests' is a multi field"),
    ({"field": "country", "in": "nl"}, "targeting.in", "is 'nl', not a list; give a list of values"),
    ({"field": "country", "in": ["nl", 1.5]}, "targeting.in[1]", "1.5 is a float; give text or an integer"),
    ({"field": "country", "in": [[]]}, "targeting.in[0]", "[] is a list"),
    ({"field": "country", "in": [None]}, "targeting.in[0]", "None is a NoneType"),
    ({"field": "country", "in": ["a", ""]}, "targeting.in[1]", "is empty"),
    ({"field": "country", "in": ["x" * 129]}, "targeting.in[0]", "has 129 bytes"),
    ({"field": "country", "in": ["a\0b"]}, "targeting.in[0]", "NUL"),
    ({"field": "country", "in": list(range(MAX_OPERANDS + 1))}, "targeting.in", "has 10001 values, 10000 are allowed"),
    ({"field": "age", "near": [HERE]}, "targeting.near", "is about places, but 'age' is a dense field; name a"),
    ({"field": "place", "in": ["here"]}, "targeting.in", "'place' is a location field; give near or away_from"),
    ({"field": "place", "at_most": 3}, "targeting.at_most", "'place' is a location field; give near or away_from"),
    ({"field": "place", "near": [HERE], "away_from": [HERE]}, "targeting", "has the keys ['away_from', "),
    ({"field": "place", "near": HERE}, "targeting.near", "not a list; give a list"),
    ({"field": "place", "away_from": []}, "targeting.away_from", "has 0 circles, 1 to 500 are allowed"),
    ({"field": "place", "near": [HERE] * (MAX_CIRCLES + 1)}, "targeting.near", "has 501 circles, 1 to 500"),
    ({"field": "place", "near": [HERE, "there"]}, "targeting.near[1]", "is 'there', a str; give an object with lat"),
    ({"field": "place", "near": [{"lat": 1, "lon": 2}]}, "targeting.near[0]", "has the keys ['lat', 'lon']; give an"),
    ({"field": "place", "near": [HERE | {"lat": 90.5}]}, "targeting.near[0].lat", "is 90.5; give degrees from -90"),
    ({"field": "place", "near": [HERE | {"lon": -181}]}, "targeting.near[0].lon", "is -181; give degrees from -180 to"),
    ({"field": "place", "near": [HERE | {"lat": "north"}]}, "targeting.near[0].lat", "is 'north', a str; give"),
    ({"field": "place", "near": [HERE | {"lon": float("nan")}]}, "targeting.near[0].lon", "is nan; give a finite"),
    ({"field": "place", "near": [HERE | {"km": -3}]}, "targeting.near[0].km", "is -3; give a radius above 0, at most"),
    ({"field": "place", "near": [HERE | {"km": 0}]}, "targeting.near[0].km", "is 0; give a radius above 0"),
    ({"field": "place", "near": [HERE | {"km": 30_000}]}, "targeting.near[0].km", "is 30000; give a radius"),
    ({"field": "age", "at_least": "21"}, "targeting.at_least", "is '21', a str; give a number"),
    ({"field": "age", "at_least": True}, "targeting.at_least", "is True, a bool"),
    ({"field": "age", "at_most": float("nan")}, "targeting.at_most", "is nan; give a finite"),
    ({"field": "age", "at_least": 1, "at_most": 10**400}, "targeting.at_most", "give a finite 32-bit number"),
    (nested(MAX_DEPTH + 1), "targeting" + ".not" * MAX_DEPTH, "lies 17 deep, 16 are allowed"),
    ({"any": [AGE] * MAX_PARTS}, "targeting", "has more than 100 clauses"),
])
def test_predicate_is_refused_with_its_path_when_it_is_malformed(predicate, path, says):
    with pytest.raises(PredicateError) as caught:
        parse_predicate(predicate, KINDS)
    assert caught.value.path == path
    assert says in str(caught.value)
    assert str(caught.value).startswith(path + " ")
    assert str(caught.value) == f"{caught.value.fact}; {caught.value.remedy}"


@pytest.mark.parametrize("text", ["", "{", "nl", "[" * 100_000, '{"all": [' * 20_000])
def test_text_is_refused_when_it_is_no_json(text):
    with pytest.raises(PredicateError, match="ads targeting is not valid JSON"):
        parse_text(text, KINDS, "ads targeting")


def test_predicate_is_read_when_it_is_just_within_the_limits():
    parse_predicate(nested(MAX_DEPTH), KINDS)
    parse_predicate({"any": [AGE] * (MAX_PARTS - 1)}, KINDS)
    parse_predicate({"field": "country", "in": list(range(MAX_OPERANDS))}, KINDS)


def test_values_are_the_same_when_they_are_the_same_text():
    one, other = ({"field": "country", "in": values} for values in ([7, "ü", "7"], ["ü", "7"]))
    assert parse_predicate(one, KINDS) == parse_predicate(other, KINDS)
    assert to_text(parse_predicate(one, KINDS)) == '{"field":"country","in":["7","ü"]}'


@settings(max_examples=100, deadline=None)
@given(predicates(KINDS))
def test_predicate_is_the_same_when_written_and_read_again(raw):
    predicate = parse_predicate(raw, KINDS)
    assert parse_predicate(to_json(predicate), KINDS) == predicate
    assert parse_text(to_text(predicate), KINDS) == predicate


@settings(max_examples=150, deadline=None)
@given(predicates(KINDS), raw_values(SPEC.user_fields), raw_values(SPEC.context_fields))
def test_the_deciding_clause_is_named_with_its_path_when_a_predicate_is_explained(raw, given_values, context):
    values = given_values | context
    predicate = parse_predicate(raw, KINDS)
    holds, path, clause = deciding_clause(predicate, lambda clause: plainly(to_json(clause), values), "t")
    assert holds == plainly(raw, values)
    assert inside(to_json(predicate), path) == to_json(clause)


def inside(predicate, path):
    """The part of a predicate that a path names."""
    for step in path.replace("[", ".").replace("]", "").split(".")[1:]:
        predicate = predicate[int(step) if step.isdigit() else step]
    return predicate


def test_clauses_are_listed_in_order_when_they_lie_in_connectives():
    one, two = {"field": "country", "in": ["nl"]}, {"field": "hour", "at_most": 9.0}
    raw = {"all": [{"not": {"any": [one, AGE]}}, {"all": []}, two, one]}
    assert [to_json(clause) for clause in clauses_of(parse_predicate(raw, KINDS))] == [one, AGE, two, one]


def test_json_of_a_predicate_is_plain_when_it_is_written():
    predicate = parse_predicate({"all": [AGE, {"not": {"field": "country", "in": [7]}}]}, KINDS)
    assert json.loads(to_text(predicate)) == {"all": [{"field": "age", "at_least": 21.0},
                                                      {"not": {"field": "country", "in": ["7"]}}]}
