"""Bodies and query strings of the calls about ads."""

import pytest

from service.contract.ad_schemas import AdPatch, AdPut, ChangesOptions, DeleteOptions, WriteOptions
from service.contract.errors import ServiceError
from service.contract.parsing import parse_request


@pytest.mark.parametrize(("body", "error_type"), [
    ({"targeting": []}, "wrong_type"), ([], "wrong_type"), ({"status": "deleted"}, "invalid_value"),
    ({"status": 1}, "invalid_value"),
    ({"status": "paused", "if_version": -1}, "invalid_value"), ({"status": "paused", "if_version": "1"}, "wrong_type"),
    ({"status": "paused", "if_version": True}, "wrong_type"), ({"status": "paused", "bid": 1}, "wrong_type"),
    ({"status": "paused", "budget": 1}, "unknown_field")])
def test_patch_is_refused_when_its_body_does_not_fit(body, error_type):
    with pytest.raises(ServiceError) as caught:
        parse_request(body, AdPatch)
    assert caught.value.error_type == error_type


@pytest.mark.parametrize(("body", "error_type"), [
    ({}, "missing_field"), ({"features": 3}, "wrong_type"), ({"features": {}, "status": "deleted"}, "invalid_value"),
    ({"features": {}, "bid": 1}, "wrong_type"), ({"features": {}, "budget": 1}, "unknown_field")])
def test_put_is_refused_when_its_body_does_not_fit(body, error_type):
    with pytest.raises(ServiceError) as caught:
        parse_request(body, AdPut)
    assert caught.value.error_type == error_type


@pytest.mark.parametrize(("schema", "query", "error_type"), [
    (WriteOptions, {"wait": "seen"}, "invalid_value"), (WriteOptions, {"if_version": "1"}, "unknown_field"),
    (DeleteOptions, {"if_version": "x"}, "invalid_value"), (ChangesOptions, {"after": "-1"}, "invalid_value"),
    (ChangesOptions, {"limit": "1001"}, "invalid_value"), (ChangesOptions, {"limit": "0"}, "invalid_value")])
def test_call_is_refused_when_its_query_string_does_not_fit(schema, query, error_type):
    with pytest.raises(ServiceError) as caught:
        parse_request(query, schema)
    assert caught.value.error_type == error_type


def test_numbers_are_read_from_the_text_of_a_query_string():
    assert parse_request({"wait": "applied", "if_version": "7"}, DeleteOptions).if_version == 7
    assert parse_request({"after": "3"}, ChangesOptions) == ChangesOptions(after=3, limit=100)
    assert parse_request({}, WriteOptions).wait == "durable"
