"""Bodies of the calls about trials."""

import pytest

from service.contract.errors import ServiceError
from service.contract.parsing import parse_request
from service.contract.trial_schemas import CanaryRequest, ShadowRequest


def test_canary_passes_the_gate_unless_the_caller_forces_it():
    assert parse_request({"bundle": "green", "share": 1}, CanaryRequest) == CanaryRequest(bundle="green", share=1.0)


@pytest.mark.parametrize(("body", "error_type"), [
    ({"bundle": "green"}, "missing_field"), ({"share": 0.5}, "missing_field"), ([], "wrong_type"),
    ({"bundle": "green", "share": 0}, "invalid_value"), ({"bundle": "green", "share": -0.1}, "invalid_value"),
    ({"bundle": "green", "share": 1.01}, "invalid_value"), ({"bundle": "green", "share": "half"}, "wrong_type"),
    ({"bundle": "green", "share": True}, "wrong_type"), ({"bundle": 7, "share": 0.5}, "wrong_type"),
    ({"bundle": "green", "share": 0.5, "users": []}, "unknown_field")])
def test_canary_is_refused_when_its_body_does_not_fit(body, error_type):
    with pytest.raises(ServiceError) as caught:
        parse_request(body, CanaryRequest)
    assert caught.value.error_type == error_type


def test_shadow_is_refused_when_it_is_given_a_share():
    with pytest.raises(ServiceError, match="share"):
        parse_request({"bundle": "green", "share": 0.5}, ShadowRequest)
