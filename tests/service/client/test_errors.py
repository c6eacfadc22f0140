"""From a reply to the exception that says what to do about it."""

import pickle

import httpx
import pytest

from monn_hill.errors import FailedError, RefusedError, RetrievalError, UnavailableError, content_of, error_of
from service.contract.errors import STATUS, ErrorType, ServiceError


def reply(error):
    return httpx.Response(error.status, content=error.body(), headers=error.headers)


@pytest.mark.parametrize("error_type", ErrorType)
def test_kind_and_words_are_the_service_s_when_it_refuses(error_type):
    found = error_of(reply(ServiceError(error_type, "top_k is 0", "send 1", retry_after=3, details="a\nb")))
    assert (found.error_type, found.message, found.help) == (error_type, "top_k is 0\na\nb", "send 1")
    assert (found.status, found.retry_after) == (STATUS[error_type], 3.0)
    if error_type == "not_applied" or found.status == 500:
        assert type(found) is FailedError
    elif found.status in (429, 503):
        assert type(found) is UnavailableError
    else:
        assert type(found) is RefusedError


@pytest.mark.parametrize(("status", "kind"), [(502, UnavailableError), (504, UnavailableError), (500, FailedError),
                                              (404, FailedError), (302, FailedError)])
@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"error_type": "x"}', b"\xff", b""])
def test_reply_is_unreadable_when_it_is_not_the_service_s(status, kind, content):
    found = error_of(httpx.Response(status, content=content, headers={"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}))
    assert type(found) is kind
    assert (found.error_type, found.status, found.retry_after) == ("unreadable_reply", status, None)


def test_answer_is_unreadable_when_it_is_no_json():
    assert content_of(httpx.Response(200, content=b'{"a": [1]}')) == {"a": [1]}
    with pytest.raises(FailedError, match="the reply has status 200 and begins with '<html>'"):
        content_of(httpx.Response(200, content=b"<html>"))


def test_error_survives_the_way_between_processes():
    error = RefusedError("invalid_value", "top_k is 0", "send 1", 422, 2.0)
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, RetrievalError)
    assert vars(copy) == vars(error)
    assert str(copy) == "422 invalid_value: top_k is 0; send 1"
