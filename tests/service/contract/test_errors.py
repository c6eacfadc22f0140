"""Errors of other layers as refusals: the type, the fact and what to do, from fields and never from prose."""

import json

import pytest
from pydantic import ValidationError

from index_store.declaration.values import FeatureError
from index_store.targeting.predicates import PredicateError
from service.contract.errors import (
    STATUS,
    ErrorType,
    ServiceError,
    from_feature_error,
    from_predicate_error,
    from_validation_error,
    internal_error,
    shown,
)
from service.contract.schemas import RetrieveRequest

FIELDS = frozenset({"age", "country"})


def test_every_type_has_a_status_of_an_error():
    assert set(STATUS) == set(ErrorType)
    assert all(400 <= status < 600 for status in STATUS.values())


@pytest.mark.parametrize(("name", "error_type", "remedy"), [
    ("age", "invalid_feature", "in user_features, give a; or b"), ("history", "invalid_feature",
                                                                   "in user_features, give a; or b"),
    ("user_id", "invalid_value", "give a; or b"), ("exclude_ad_ids", "invalid_value", "give a; or b"),
    ("ad_id", "invalid_value", "give a; or b"), ("context.hour", "invalid_context", "in context, give a; or b"),
    ("height", "unknown_feature", "remove it: give a; or b, and history")])
def test_fact_and_remedy_stay_whole_when_they_hold_semicolons(name, error_type, remedy):
    refusal = from_feature_error(FeatureError(name, "it is 'x; y'", "give a; or b"), FIELDS)
    assert (refusal.error_type, refusal.message, refusal.help) == (error_type, "it is 'x; y'", remedy)


def test_path_begins_the_fact_when_a_predicate_is_malformed():
    refusal = from_predicate_error(PredicateError("targeting.in[0]", "is 'a; b'", "give c; or d"))
    assert (refusal.error_type, refusal.message, refusal.help) == (
        "invalid_targeting", "targeting.in[0] is 'a; b'", "give c; or d")


@pytest.mark.parametrize(("body", "error_type", "message"), [
    ([], "wrong_type", "the body is a list"), (None, "wrong_type", "the body is null"),
    ({"user_id": "u", "colour": 1}, "unknown_field", 'the request has a field "colour", which is not known here'),
    ({"user_id": "u", "top_k": "7"}, "wrong_type", "top_k is \"7\", text"),
    ({"user_id": "u", "beam_width": [3, 0]}, "invalid_value",
     "beam_width[1] is 0, an integer; input should be greater than or equal to 1"),
    ({"user_id": "u", "task_weights": {"click": -1}}, "invalid_value",
     "task_weights.click is -1, an integer; input should be greater than or equal to 0")])
def test_first_fault_is_named_with_its_path_when_a_body_does_not_fit(body, error_type, message):
    with pytest.raises(ValidationError) as caught:
        RetrieveRequest.model_validate(body)
    refusal = from_validation_error(caught.value, RetrieveRequest)
    assert (refusal.error_type, refusal.message) == (error_type, message)
    assert refusal.help


def test_body_and_headers_hold_what_was_given_when_an_error_becomes_a_reply():
    plain = ServiceError(ErrorType.OVERLOADED, "full", "wait", retry_after=7)
    assert json.loads(plain.body()) == {"error_type": "overloaded", "message": "full", "help": "wait"}
    assert (plain.status, plain.headers) == (429, {"retry-after": "7"})
    detailed = ServiceError(ErrorType.DRAINING, "x" * 1000, "go", details="a\nb")
    assert json.loads(detailed.body())["details"] == "a\nb"
    assert json.loads(detailed.body())["message"] == "x" * 400 + "…"
    assert detailed.headers == {"connection": "close"}
    assert internal_error().status == 500


def test_value_is_cut_when_it_is_long_or_nested_too_deep():
    assert shown({"a": [1, "ü"]}) == '{"a":[1,"ü"]}'
    assert len(shown("x" * 1000)) <= 61
    nested = []
    for _ in range(1000):
        nested = [nested]
    assert len(shown(nested)) <= 61
