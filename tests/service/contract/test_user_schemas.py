"""The body of PUT /users/{user_id}."""

import pytest

from service.contract.errors import ServiceError
from service.contract.parsing import parse_request
from service.contract.user_schemas import UserPut


@pytest.mark.parametrize(("body", "error_type"), [
    ({}, "missing_field"), ({"features": []}, "wrong_type"), ({"features": {}, "if_version": -1}, "invalid_value"),
    ({"features": {}, "history": []}, "unknown_field")])
def test_put_is_refused_when_its_body_does_not_fit(body, error_type):
    with pytest.raises(ServiceError) as caught:
        parse_request(body, UserPut)
    assert caught.value.error_type == error_type
