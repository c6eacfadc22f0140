"""The token of a group of calls: who bears it, and what the others are told."""

import pytest
from pydantic import SecretStr
from starlette.requests import Request

from service.contract.errors import ErrorType, ServiceError
from service.http.bearer_token import BearerToken

TOKEN = BearerToken(SecretStr("s3cret-Ü"), "write_token", "write token", ErrorType.WRITES_DISABLED)
RIGHT = "Bearer s3cret-Ü".encode()


def request(header):
    return Request({"type": "http", "headers": [] if header is None else [(b"authorization", header)]})


@pytest.mark.parametrize("header", [RIGHT, b"bearer" + RIGHT[6:], RIGHT + b" "])
def test_call_passes_when_it_bears_the_token(header):
    TOKEN.check(request(header))


@pytest.mark.parametrize("header", [None, b"Bearer", RIGHT[:-1], RIGHT + b"x", RIGHT.replace(b"Bearer", b"Basic"),
                                    RIGHT[7:]])
def test_call_is_refused_when_the_token_is_wrong(header):
    with pytest.raises(ServiceError, match="the write token is missing or wrong") as caught:
        TOKEN.check(request(header))
    assert caught.value.error_type == "unauthorized"
    assert "RETRIEVAL_WRITE_TOKEN" in caught.value.help


def test_every_call_is_refused_when_the_service_has_no_token():
    without = BearerToken(None, "write_token", "write token", ErrorType.WRITES_DISABLED)
    with pytest.raises(ServiceError, match="this service has no write token") as caught:
        without.check(request(b"Bearer "))
    assert caught.value.error_type == "writes_disabled"
