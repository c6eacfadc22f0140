"""Bodies of the admin calls."""

import pytest

from service.contract.admin_schemas import LoadRequest
from service.contract.errors import ServiceError
from service.contract.parsing import parse_request


def test_bundle_is_compared_unless_the_caller_forces_it():
    assert parse_request({"bundle": "green"}, LoadRequest) == LoadRequest(bundle="green", force=False)


@pytest.mark.parametrize(("body", "error_type"), [
    ({}, "missing_field"), ([], "wrong_type"), ({"bundle": 7}, "wrong_type"),
    ({"bundle": "green", "force": "yes"}, "wrong_type"), ({"bundle": "green", "now": True}, "unknown_field")])
def test_load_is_refused_when_its_body_does_not_fit(body, error_type):
    with pytest.raises(ServiceError) as caught:
        parse_request(body, LoadRequest)
    assert caught.value.error_type == error_type
