"""Predicates: what is read and what is refused; compiled ones against a plain recursive evaluator."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.features.ragged import Ragged
from index_store.features.values import FeatureError
from index_store.targeting.attributes import ad_facts, audience_facts, check_context, clause_holds
from index_store.targeting.predicate_program import PredicateProgram, ProgramError, compile_predicates
from index_store.targeting.predicates import (
    MAX_DEPTH,
    MAX_OPERANDS,
    MAX_PARTS,
    PredicateError,
    deciding_clause,
    parse_predicate,
    parse_text,
    to_json,
    to_text,
)
from tests.index_store.worlds import NUMBERS, SPEC, WORDS, catalogue, encoder, plainly, predicates, raw_values

KINDS = SPEC.audience_kinds
AGE = {"field": "age", "at_least": 21}


def nested(depth):
    predicate = AGE
    for _ in range(depth - 1):
        predicate = {"not": predicate}
    return predicate


@pytest.mark.parametrize(("predicate", "path", "says"), [
    ([], "targeting", "is [], no object; give"),
    ("age > 21", "targeting", "is 'age > 21', no object"),
    (None, "targeting", "is None"),
    ({}, "targeting", "has the keys [], which make no predicate; give"),
    ({"all": [AGE], "any": [AGE]}, "targeting", "has the keys ['all', 'any']"),
    ({"nor": [AGE]}, "targeting", "has the keys ['nor']"),
    ({"all": AGE}, "targeting.all", "no list; give a list of predicates"),
    ({"all": [AGE, {"not": {"any": [AGE, 7]}}]}, "targeting.all[1].not.any[1]", "is 7, no object"),
    ({"not": [AGE]}, "targeting.not", "no object"),
    ({"field": "age"}, "targeting", "has the keys ['field']"),
    ({"field": "age", "at_least": 1, "more": 2}, "targeting", "has the keys ['at_least', 'field', 'more']"),
    ({"all": [{"field": "height", "at_least": 1}]}, "targeting.all[0].field",
     "is 'height', no field that can be read here; use one of age, country, device, hour, interests, slots"),
    ({"field": ["age"], "at_least": 1}, "targeting.field", "is ['age'], no field"),
    ({"field": "age", "in": [1]}, "targeting.in", "'age' is a dense field; give at_least or at_most"),
    ({"field": "country", "at_most": 3}, "targeting.at_most", "'country' is a categorical field; give in"),
    ({"field": "interests", "at_least": 3, "at_most": 4}, "targeting.at_least", "'interests' is a multi field"),
    ({"field": "country", "in": "nl"}, "targeting.in", "is 'nl', no list; give a list of values"),
    ({"field": "country", "in": ["nl", 1.5]}, "targeting.in[1]", "1.5 is a float; give text or an integer"),
    ({"field": "country", "in": [True]}, "targeting.in[0]", "True is a bool"),
    ({"field": "country", "in": [None]}, "targeting.in[0]", "None is a NoneType"),
    ({"field": "country", "in": ["a", ""]}, "targeting.in[1]", "is empty"),
    ({"field": "country", "in": ["x" * 129]}, "targeting.in[0]", "has 129 bytes"),
    ({"field": "country", "in": ["a\0b"]}, "targeting.in[0]", "NUL"),
    ({"field": "country", "in": list(range(MAX_OPERANDS + 1))}, "targeting.in", "has 10001 values, 10000 are allowed"),
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
    with pytest.raises(PredicateError, match="ads targeting is no JSON"):
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
@given(st.lists(predicates(KINDS), max_size=6), raw_values(SPEC.user_fields), raw_values(SPEC.context_fields))
def test_compiled_predicates_hold_when_the_plain_ones_do(raw, given_values, context):
    parsed = [parse_predicate(predicate, KINDS) for predicate in raw]
    encoded = encoder(1)
    program = compile_predicates(parsed, encoded)
    facts = audience_facts(encoded, program.fields, stored=None, given=given_values, context=context)
    expected = [plainly(predicate, given_values | context) for predicate in raw]
    assert program.truth(facts).tolist() == expected
    everything = audience_facts(encoded, KINDS.keys(), stored=None, given=given_values, context=context)
    for predicate, truth in zip(parsed, expected, strict=True):
        holds, path, clause = deciding_clause(predicate, lambda c: clause_holds(encoded, "user", c, everything), "t")
        assert holds == truth
        assert inside(to_json(predicate), path) == to_json(clause)


def inside(predicate, path):
    """The part of a predicate that a path names."""
    for step in path.replace("[", ".").replace("]", "").split(".")[1:]:
        predicate = predicate[int(step) if step.isdigit() else step]
    return predicate


@settings(max_examples=60, deadline=None)
@given(raw_values(SPEC.user_fields), raw_values(SPEC.user_fields).flatmap(
    lambda values: st.sets(st.sampled_from(sorted(values))).map(lambda names: {n: values[n] for n in names})))
def test_stored_values_count_as_given_ones_when_no_others_are_given(stored, given_values):
    encoded = encoder(1)
    features = encoded.encode_user({"age": 40.0} | {name: value for name, value in stored.items() if value is not None})
    known = stored | ({"age": 40.0} if stored["age"] is None else {})  # a table has no missing dense values
    both = audience_facts(encoded, KINDS.keys(), stored=features, given=given_values, context={})
    plain = audience_facts(encoded, KINDS.keys(), stored=None, given=known | given_values, context={})
    assert {name: sorted(set(fact)) if isinstance(fact, list) else fact for name, fact in both.items()} == {
        name: sorted(set(fact)) if isinstance(fact, list) else fact for name, fact in plain.items()}


def test_a_value_is_within_a_bound_when_both_are_the_same_number():
    encoded = encoder(1)
    for number in [*NUMBERS, *np.random.default_rng(0).normal(30, 500, 2000)]:
        program = compile_predicates([parse_predicate({"field": name, "at_least": number, "at_most": number}, KINDS)
                                      for name in ("age", "hour")], encoded)
        stored = encoded.encode_user({"age": float(np.float32(number))})
        for facts in (audience_facts(encoded, KINDS.keys(), stored=stored, given={}, context={"hour": number}),
                      audience_facts(encoded, KINDS.keys(), stored=None, given={"age": number},
                                     context={"hour": float(np.float32(number))})):
            assert program.truth(facts).tolist() == [True, True]


def test_large_numbers_of_the_context_are_told_apart():
    program = compile_predicates([parse_predicate({"field": "hour", "at_least": 1.8e9}, KINDS)], encoder(1))
    for number, expected in ((1.7e9, False), (1.9e9, True)):
        facts = audience_facts(encoder(1), {"hour"}, stored=None, given={}, context={"hour": number})
        assert program.truth(facts).tolist() == [expected]


def test_not_holds_when_the_value_is_missing():
    refuses_tv = parse_predicate({"not": {"field": "device", "in": ["tv"]}}, KINDS)
    program = compile_predicates([refuses_tv], encoder(1))
    for context, expected in (({}, True), ({"device": None}, True), ({"device": "tv"}, False), ({"device": "t"}, True)):
        facts = audience_facts(encoder(1), {"device"}, stored=None, given={}, context=context)
        assert program.truth(facts).tolist() == [expected]


def test_equal_parts_are_compiled_once_when_many_predicates_share_them():
    shared = {"all": [AGE, {"field": "country", "in": ["nl", "de"]}]}
    variants = [shared, {"all": [{"field": "country", "in": ["de", "nl", "de"]}, AGE, AGE]}, {"not": {"not": shared}},
                {"any": [{"all": []}, shared]}, {"all": [shared, {"any": []}]}]
    program = compile_predicates([parse_predicate(raw, KINDS) for raw in variants], encoder(1))
    assert program.n_nodes == 1 + 1 + 1 + 1
    assert len(set(program.roots[:3].tolist())) == 1
    assert program.roots[3:].tolist() == [0, 1]  # always, never


@pytest.mark.parametrize(("context", "name", "says"), [
    ({"weather": 1}, "context.weather", "'weather' is unknown; this bundle knows ['device', 'hour', 'slots']"),
    ({"hour": "noon"}, "context.hour", "is 'noon', a str; give a number"),
    ({"hour": float("inf")}, "context.hour", "finite"),
    ({"device": 1.5}, "context.device", "1.5 is a float"),
    ({"device": ""}, "context.device", "is empty"),
    ({"slots": "top"}, "context.slots", "is a str; give a list"),
    ({"slots": ["top", None]}, "context.slots", "None is a NoneType"),
])
def test_context_is_refused_when_a_field_is_unknown_or_unfit(context, name, says):
    with pytest.raises(FeatureError) as caught:
        check_context(encoder(1), context)
    assert caught.value.name == name
    assert says in str(caught.value)


def test_facts_of_an_ad_are_its_values_when_they_are_decoded():
    encoded, ads, features, _ = catalogue(3, 20)
    for row, ad in enumerate(ads):
        facts = ad_facts(encoded, features, row)
        assert facts["ad_id"] == [ad["ad_id"].encode()]
        assert facts.get("brand") == (None if ad["brand"] is None else [str(ad["brand"]).encode()])
        assert facts.get("tags") == ([str(tag).encode() for tag in ad["tags"]] or None)
        assert facts["price"] == pytest.approx((ad["price"] - 3.1) / 0.7)


@pytest.mark.parametrize(("part", "change", "says"), [
    ("roots", lambda p: {"roots": p.roots + 2 * p.n_nodes}, "numbers from"),
    ("roots", lambda p: {"roots": p.roots - 50}, "numbers from"),
    ("range_of", lambda p: {"range_of": p.range_of + 1}, "numbers from 1 to 1"),
    ("gates", lambda p: {"gates": Ragged(p.gates.indptr, p.gates.values + 100)}, "numbers from"),
    ("gates", lambda p: {"gates": Ragged(p.gates.indptr * 0, p.gates.values)}, "fewer than 1"),
    ("level_ends", lambda p: {"level_ends": (2, 2, 3)}, "do not rise to the"),
    ("values of country", lambda p: {"sets": (type(p.sets[0])("country", p.sets[0].values[::-1], p.sets[0].nodes),)},
     "not sorted"),
    ("nodes of country", lambda p: {"n_sets": 0}, "numbers from"),
])
def test_program_is_refused_when_its_arrays_do_not_fit(part, change, says):
    raw = {"any": [{"all": [AGE, {"field": "country", "in": WORDS}]}, {"not": {"field": "country", "in": ["a"]}}]}
    program = compile_predicates([parse_predicate(raw, KINDS)], encoder(1))
    fields = {name: getattr(program, name) for name in PredicateProgram.__dataclass_fields__}
    with pytest.raises(ProgramError) as caught:
        PredicateProgram(**fields | change(program))
    assert caught.value.part == part
    assert says in caught.value.fact


def test_json_of_a_predicate_is_plain_when_it_is_written():
    predicate = parse_predicate({"all": [AGE, {"not": {"field": "country", "in": [7]}}]}, KINDS)
    assert json.loads(to_text(predicate)) == {"all": [{"field": "age", "at_least": 21.0},
                                                      {"not": {"field": "country", "in": ["7"]}}]}
