"""Reach: counts of users by a plain evaluator of predicates."""

import dataclasses

import numpy as np
import pytest

from index_store.bundle.bundle import UserTable
from index_store.features.ragged import Ragged
from index_store.targeting.predicates import parse_predicate
from service.console import reach
from service.console.reach import reach_of
from service.contract.console_schemas import ReachOfUsers
from tests.index_store.worlds import plainly
from tests.targeted_bundle import PREDICATES, raw_users

OLD, HERE = {"field": "age", "at_least": 40}, {"field": "country", "in": ["country-1", "country-2"]}
TV = {"field": "device", "in": ["tv"]}


@pytest.fixture
def content(retriever):
    return retriever.bundle.content


def found_of(content, raw, users=None):
    predicate = None if raw is None else parse_predicate(raw, content.encoder.spec.audience_kinds)
    found = reach_of(predicate, users or content.users, content.encoder)
    ReachOfUsers.model_validate(found, strict=True)
    return found


def those(content, raw):
    return sum(plainly(raw, user) for user in raw_users(content).values())


def test_each_clause_tells_how_many_more_there_would_be_without_it(content):
    found = found_of(content, {"all": [OLD, HERE]})
    both, old, here = (those(content, raw) for raw in ({"all": [OLD, HERE]}, OLD, HERE))
    assert 0 < both < min(old, here)
    assert (found["known"], found["looked_at"], found["eligible"]) == (40, 40, both)
    assert [(clause["eligible"], clause["times"]) for clause in found["clauses"]] == [
        (here, pytest.approx(here / both)), (old, pytest.approx(old / both))]
    assert [clause["path"] for clause in found["clauses"]] == ["targeting.all[0]", "targeting.all[1]"]


def test_clause_about_the_context_counts_as_if_it_were_not_there(content):
    found = found_of(content, PREDICATES[1])
    assert found["eligible"] == those(content, {"field": "age", "at_least": 40})
    assert [clause["judged"] for clause in found["clauses"]] == [True, False]
    assert found["clauses"][1]["times"] is None
    assert found_of(content, {"not": TV})["eligible"] == 40


def test_everybody_is_eligible_when_the_ad_has_no_predicate(content):
    assert found_of(content, None) == {"known": 40, "looked_at": 40, "eligible": 40, "clauses": []}


def test_no_factor_is_told_when_nobody_is_eligible(content):
    nowhere = {"field": "country", "in": ["atlantis"]}
    clause = found_of(content, nowhere)["clauses"][0]
    assert (clause["eligible"], clause["times"]) == (40, None)


def test_users_are_sampled_evenly_when_there_are_many(content, monkeypatch):
    monkeypatch.setattr(reach, "MOST_USERS", 8)
    found = found_of(content, None)
    assert (found["known"], found["looked_at"]) == (40, 8)


def test_nobody_is_looked_at_when_the_bundle_has_no_users(content):
    none = UserTable(np.empty(0, "S4"), dataclasses.replace(content.users.features.take(np.empty(0, np.int64))),
                     Ragged.of([]))
    found = found_of(content, {"all": [OLD]}, none)
    assert (found["known"], found["looked_at"], found["eligible"]) == (0, 0, 0)
