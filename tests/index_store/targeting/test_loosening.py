"""Loosening: a clause that is left out decides nothing any more, and the others decide as before."""

from hypothesis import given, settings

from index_store.targeting.loosening import paths_of, without
from index_store.targeting.predicates import clauses_of, parse_predicate, to_json
from tests.index_store.worlds import SPEC, predicates

KINDS = SPEC.audience_kinds
AGE, NL = {"field": "age", "at_least": 21.0}, {"field": "country", "in": ["nl"]}


def left(raw, *paths):
    rest = without(parse_predicate(raw, KINDS), paths)
    return None if rest is None else to_json(rest)


@settings(max_examples=60)
@given(predicates(KINDS))
def test_every_clause_has_a_path_when_they_are_listed_and_nothing_goes_when_none_is_named(raw):
    predicate = parse_predicate(raw, KINDS)
    paths = list(paths_of(predicate))
    assert [clause for _, clause in paths] == list(clauses_of(predicate))
    assert len({path for path, _ in paths}) == len(paths)
    assert without(predicate, ()) == predicate
    for path, clause in paths:
        rest = without(predicate, {path})
        assert (0 if rest is None else len(list(clauses_of(rest)))) == len(paths) - 1
        at = raw
        for step in path.replace("]", "").replace("[", ".").split(".")[1:]:
            at = at[int(step)] if step.isdigit() else at[step]
        assert to_json(parse_predicate(at, KINDS)) == to_json(clause)


def test_a_connective_goes_with_its_last_part():
    assert left({"all": [AGE, NL]}, "targeting.all[0]") == {"all": [NL]}
    assert left({"any": [AGE, NL]}, "targeting.any[1]") == {"any": [AGE]}
    assert left({"all": [NL, {"not": AGE}]}, "targeting.all[1].not") == {"all": [NL]}
    assert left({"all": [NL, {"any": [AGE]}]}, "targeting.all[1].any[0]") == {"all": [NL]}
    assert left(AGE, "targeting") is None
    assert left({"not": {"all": [AGE]}}, "targeting.not.all[0]") is None


def test_an_empty_connective_stays_when_it_was_empty_before():
    assert left({"all": [{"any": []}, AGE]}, "targeting.all[1]") == {"all": [{"any": []}]}
