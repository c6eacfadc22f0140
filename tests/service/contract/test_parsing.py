"""From bytes to a Query: every field at its place, the bundle's defaults, and the limits of the service."""

import json
from dataclasses import replace

import numpy as np
import pytest

from index_store.bundle.files import BundleFiles
from service.contract.errors import ServiceError
from service.contract.parsing import UNLIMITED, Limits, parse_body, parse_request, to_query
from service.contract.schemas import ExplainRequest
from service.settings import Settings

FULL = {"user_id": "u", "top_k": 7, "user_features": {"age": 3}, "beam_width": [4, 5], "timeout_ms": 20.5,
        "explain": True, "task_weights": {"convert": 0.5}, "targeting": {"all": []}, "context": {"hour": 3},
        "exclude_ad_ids": ["a", 1], "exclude_history": True, "ad_id": "ad-0001", "rank_by": "ecpm", "floor": 9,
        "max_per": {"brand": 2}, "explore": 0.25}


@pytest.fixture(scope="module")
def manifest(tiny_bundle):
    return BundleFiles(tiny_bundle, verify=False).manifest


def refused(body, manifest, limits=UNLIMITED):
    with pytest.raises(ServiceError) as caught:
        to_query(parse_request({"user_id": "u", **body}), manifest, limits)
    return caught.value


def test_every_field_lands_at_its_place_when_all_are_given(manifest):
    query = to_query(parse_body(json.dumps(FULL).encode(), ExplainRequest), manifest, UNLIMITED)
    np.testing.assert_array_equal(query.task_weights, np.array([0, 0.5], np.float32))
    assert replace(query, task_weights=None, at=0.0).__dict__ == {
        "user_id": b"u", "top_k": 7, "task_weights": None, "user_features": {"age": 3}, "exclude_ad_ids": ["a", 1],
        "beam_width": (4, 5), "exact": False, "target_overlap": None, "budget_ms": None, "timeout_ms": 20.5,
        "explain": True, "explain_ad": "ad-0001", "context": {"hour": 3}, "targeting": {"all": []},
        "by_ecpm": True, "floor": 9, "exclude_history": True, "max_per": {"brand": 2}, "explore": 0.25,
        "exploring": None, "at": 0.0}


@pytest.mark.parametrize(("field", "value"), [("budget_ms", 3.5), ("target_overlap", 0.75), ("exact", True)])
def test_extent_of_the_search_and_deadline_are_separate_fields(manifest, field, value):
    query = to_query(parse_request({"user_id": "u", field: value, "timeout_ms": 9}), manifest, UNLIMITED)
    assert getattr(query, field) == value
    assert query.timeout_ms == 9
    assert [name for name in ("budget_ms", "target_overlap", "exact", "beam_width") if getattr(query, name)] == [field]


def test_defaults_are_the_bundles_when_a_request_names_the_user_alone(manifest):
    query = to_query(parse_request({"user_id": "u"}), manifest, UNLIMITED)
    assert (query.top_k, query.beam_width, query.exact, query.timeout_ms, query.explain_ad) == (
        10, None, False, None, None)
    assert query.task_weights.tolist() == [1.0, 0.0]
    assert to_query(parse_request({"user_id": "u", "beam_width": 5}), manifest, UNLIMITED).beam_width == (5, 5)


def test_ecpm_is_refused_without_a_calibration_and_a_floor_without_ecpm(manifest):
    told = refused({"floor": 5}, manifest)
    assert (told.error_type, told.message) == ("invalid_value", 'floor is 5, but rank_by is "score"')
    bare = replace(manifest, files={})
    told = refused({"rank_by": "ecpm"}, bare)
    assert (told.error_type, told.message) == (
        "invalid_value",
        f'rank_by is "ecpm", but bundle {bare.bundle_id}, trained on impressions, holds no calibration')
    assert "export the run again with test events" in told.help
    told = refused({"rank_by": "ecpm"}, replace(bare, calibrated=False))
    assert "sampled negatives, holds no calibration" in told.message
    assert "train on a log of impressions" in told.help


def test_limits_are_those_of_the_settings_when_a_request_exceeds_them(manifest):
    limits = Limits.of(Settings(max_top_k=5, max_beam_width=6, max_excluded=2, min_timeout_ms=7.5))
    for body, said, setting in (
            ({"top_k": 6}, "the top_k is 6, above this service's limit of 5", "RETRIEVAL_MAX_TOP_K"),
            ({"top_k": 5, "beam_width": [6, 7]}, "the beam_width is 7, above this service's limit of 6",
             "RETRIEVAL_MAX_BEAM_WIDTH"),
            ({"top_k": 5, "exclude_ad_ids": [1, 2, 3]},
             "the number of exclude_ad_ids is 3, above this service's limit of 2", "RETRIEVAL_MAX_EXCLUDED"),
            ({"top_k": 5, "timeout_ms": 7}, "timeout_ms is 7, below this service's floor of 7.5",
             "RETRIEVAL_MIN_TIMEOUT_MS")):
        error = refused(body, manifest, limits)
        assert (error.error_type, error.message) == ("invalid_value", said)
        assert setting in error.help
    assert to_query(parse_request({"user_id": "u", "top_k": 5, "timeout_ms": 7.5}), manifest, limits).top_k == 5


@pytest.mark.parametrize(("body", "error_type"), [
    ({"budget_ms": 3, "exact": True}, "invalid_value"), ({"target_overlap": 0.9, "beam_width": 5}, "invalid_value"),
    ({"task_weights": {"clicks": 1}}, "unknown_task"), ({"task_weights": {"click": 0}}, "invalid_value"),
    ({"beam_width": [5]}, "invalid_value")])
def test_request_is_refused_when_it_does_not_fit_the_bundle_or_itself(manifest, body, error_type):
    assert refused(body, manifest).error_type == error_type


def test_user_may_be_named_by_an_integer(manifest):
    assert to_query(parse_request({"user_id": 42}), manifest, UNLIMITED).user_id == b"42"


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"\xff", b'{"user_id": "u"} x'])
def test_body_is_refused_when_it_is_not_valid_json(body):
    with pytest.raises(ServiceError, match="is not valid JSON") as caught:
        parse_body(body)
    assert caught.value.error_type == "malformed_json"
    assert f"{len(body)} bytes" in caught.value.message


def test_a_request_without_a_user_id_needs_features(manifest):
    query = to_query(parse_request({"user_features": {"age": 3}}), manifest, UNLIMITED)
    assert (query.user_id, query.user_features) == (b"", {"age": 3})
    for body in ({}, {"user_id": None}, {"top_k": 3}):
        with pytest.raises(ServiceError) as caught:
            to_query(parse_request(body), manifest, UNLIMITED)
        assert (caught.value.error_type, caught.value.message) == ("missing_field", "the request has no user_id")
        assert "user_features" in caught.value.help
