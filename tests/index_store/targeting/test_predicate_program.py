"""Compiled predicates against a plain recursive evaluator."""


import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.features.ragged import Ragged
from index_store.targeting.attributes import request_attributes
from index_store.targeting.predicate_program import PredicateProgram, ProgramError, compile_predicates
from index_store.targeting.predicates import (
    parse_predicate,
)
from tests.index_store.worlds import NUMBERS, SPEC, WORDS, encoder, plainly, predicates, raw_values

KINDS = SPEC.audience_kinds
AGE = {"field": "age", "at_least": 21}


@settings(max_examples=150, deadline=None)
@given(st.lists(predicates(KINDS), max_size=6), raw_values(SPEC.user_fields), raw_values(SPEC.context_fields))
def test_compiled_predicates_hold_when_the_plain_ones_do(raw, given_values, context):
    parsed = [parse_predicate(predicate, KINDS) for predicate in raw]
    encoded = encoder(1)
    program = compile_predicates(parsed, encoded)
    attributes = request_attributes(encoded, program.fields, stored=None, given=given_values, context=context)
    expected = [plainly(predicate, given_values | context) for predicate in raw]
    assert program.truth(attributes).tolist() == expected


def test_a_value_is_within_a_bound_when_both_are_the_same_number():
    encoded = encoder(1)
    for number in [*NUMBERS, *np.random.default_rng(0).normal(30, 500, 2000)]:
        program = compile_predicates([parse_predicate({"field": name, "at_least": number, "at_most": number}, KINDS)
                                      for name in ("age", "hour")], encoded)
        stored = encoded.encode_user({"age": float(np.float32(number))})
        for attributes in (request_attributes(encoded, KINDS.keys(), stored=stored, given={}, context={"hour": number}),
                      request_attributes(encoded, KINDS.keys(), stored=None, given={"age": number},
                                     context={"hour": float(np.float32(number))})):
            assert program.truth(attributes).tolist() == [True, True]


def test_large_numbers_of_the_context_are_told_apart():
    program = compile_predicates([parse_predicate({"field": "hour", "at_least": 1.8e9}, KINDS)], encoder(1))
    for number, expected in ((1.7e9, False), (1.9e9, True)):
        attributes = request_attributes(encoder(1), {"hour"}, stored=None, given={}, context={"hour": number})
        assert program.truth(attributes).tolist() == [expected]


def test_not_holds_when_the_value_is_missing():
    refuses_tv = parse_predicate({"not": {"field": "device", "in": ["tv"]}}, KINDS)
    program = compile_predicates([refuses_tv], encoder(1))
    for context, expected in (({}, True), ({"device": None}, True), ({"device": "tv"}, False), ({"device": "t"}, True)):
        attributes = request_attributes(encoder(1), {"device"}, stored=None, given={}, context=context)
        assert program.truth(attributes).tolist() == [expected]


def test_equal_parts_are_compiled_once_when_many_predicates_share_them():
    shared = {"all": [AGE, {"field": "country", "in": ["nl", "de"]}]}
    variants = [shared, {"all": [{"field": "country", "in": ["de", "nl", "de"]}, AGE, AGE]}, {"not": {"not": shared}},
                {"any": [{"all": []}, shared]}, {"all": [shared, {"any": []}]}]
    program = compile_predicates([parse_predicate(raw, KINDS) for raw in variants], encoder(1))
    assert program.n_nodes == 1 + 1 + 1 + 1
    assert len(set(program.roots[:3].tolist())) == 1
    assert program.roots[3:].tolist() == [0, 1]  # always, never


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
