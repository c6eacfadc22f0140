"""Routing by exact path and method, and errors as replies."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from service.contract.errors import ErrorType, ServiceError
from service.http.admission import ClientLeftError
from service.http.authorization import TokenScope
from service.http.dispatcher import Dispatcher, Route
from service.http.observer import AccessEntry

REFUSED = ServiceError(ErrorType.OVERLOADED, "too much", "wait", retry_after=3)


def raising(error):
    async def endpoint(request):
        raise error
    return endpoint


async def hello(request):
    return Response(b"hello " + await request.body(), headers={"x-path": request.url.path})


@asynccontextmanager
async def nothing(_):
    yield


def keep_out(scope, request):
    raise ServiceError(ErrorType.WRONG_SCOPE, f"{scope} it is not", f"go away from {request.url.path}")


def dispatcher(lifespan=nothing):
    return Dispatcher([Route(path="/hello", method="POST", endpoint=hello),
                       Route(path="/refused", method="GET", endpoint=raising(REFUSED)),
                       Route(path="/gone", method="GET", endpoint=raising(ClientDisconnect())),
                       Route(path="/left", method="GET", endpoint=raising(ClientLeftError())),
                       Route(path="/defect", method="GET", endpoint=raising(KeyError("secret"))),
                       Route(path="/kept", method="GET", endpoint=hello, scope=TokenScope.WRITE)], lifespan, keep_out)


class Sent:
    """What the application sent for one request, its access entry, and what it raised."""

    def __init__(self, method, path):
        self.entry, self.messages, self.error = AccessEntry("id", 0.0), [], None
        scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"",
                 "access_entry": self.entry}
        try:
            asyncio.run(dispatcher()(scope, self.receive, self.send))
        except Exception as error:
            self.error = error
        self.status, self.body = self.messages[0]["status"], self.messages[1]["body"]
        self.headers = dict(self.messages[0]["headers"])

    async def receive(self):
        return {"type": "http.request", "body": b"you", "more_body": False}

    async def send(self, message):
        self.messages.append(message)


def test_endpoint_answers_and_is_named_in_the_log_when_path_and_method_fit():
    sent = Sent("POST", "/hello")
    assert (sent.status, sent.body, sent.error) == (200, b"hello you", None)
    assert (sent.entry.endpoint, sent.entry.error_type) == ("/hello", "")


@pytest.mark.parametrize("path", ["/", "/hello/", "/hell", "/HELLO", "/a\0b", "/" + "x" * 5000])
def test_reply_is_not_found_when_there_is_no_such_path(path):
    sent = Sent("POST", path)
    assert (sent.status, sent.entry.endpoint, sent.entry.error_type) == (404, "other", "not_found")
    assert len(sent.body) < 500


@pytest.mark.parametrize(("method", "path", "allowed"), [("GET", "/hello", b"POST"), ("POST", "/refused", b"GET, HEAD"),
                                                         ("BREW", "/hello", b"POST"), ("HEAD", "/hello", b"POST")])
def test_reply_names_the_method_when_the_path_has_another(method, path, allowed):
    sent = Sent(method, path)
    assert (sent.status, sent.headers[b"allow"]) == (405, allowed)
    assert f"does not support {method}".encode() in sent.body
    assert (sent.entry.endpoint, sent.entry.error_type) == ("other", "method_not_allowed")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_refusal_has_status_body_and_headers_when_an_endpoint_raises_it(method):
    sent = Sent(method, "/refused")
    assert (sent.status, sent.body, sent.headers[b"retry-after"]) == (429, REFUSED.body(), b"3")
    assert sent.headers[b"content-type"] == b"application/json"
    assert (sent.entry.endpoint, sent.entry.error_type, sent.error) == ("/refused", "overloaded", None)


def test_endpoint_is_not_reached_when_the_scope_of_its_route_is_refused():
    sent = Sent("GET", "/kept")
    assert (sent.status, sent.entry.endpoint, sent.entry.error_type) == (403, "/kept", "wrong_scope")
    assert b"write it is not" in sent.body


@pytest.mark.parametrize("path", ["/gone", "/left"])
def test_status_is_499_when_the_client_has_left(path):
    sent = Sent("GET", path)
    assert (sent.status, sent.entry.error_type, sent.error) == (499, "", None)


def test_caller_gets_no_details_but_the_observer_does_when_an_endpoint_has_a_defect():
    sent = Sent("GET", "/defect")
    assert (sent.status, sent.entry.error_type) == (500, "internal")
    assert b"secret" not in sent.body
    assert repr(sent.error) == "KeyError('secret')"


def test_lifespan_is_entered_and_left_when_the_server_says_so():
    events = []

    @asynccontextmanager
    async def lifespan(_):
        events.append("entered")
        yield
        events.append("left")

    async def serve():
        told = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive():
            return {"type": next(told)}

        async def send(message):
            events.append(message["type"])

        await dispatcher(lifespan)({"type": "lifespan", "state": {}}, receive, send)

    asyncio.run(serve())
    assert events == ["entered", "lifespan.startup.complete", "left", "lifespan.shutdown.complete"]


async def told(request):
    return Response(f"{request.method} {request.path_params}")


WITH_PARAMETER = Dispatcher([Route(path="/ads/{ad_id}", method="GET", endpoint=told),
                             Route(path="/ads/{ad_id}", method="DELETE", endpoint=told),
                             Route(path="/ads:batch", method="POST", endpoint=told)], nothing, keep_out)


def replied(method, path):
    """Status, body and endpoint in the log of a request to WITH_PARAMETER."""
    entry, messages = AccessEntry("id", 0.0), []

    async def send(message):
        messages.append(message)

    asyncio.run(WITH_PARAMETER({"type": "http", "method": method, "path": path, "headers": [], "query_string": b"",
                                "access_entry": entry}, None, send))
    return messages[0]["status"], messages[1]["body"].decode(), entry.endpoint


@pytest.mark.parametrize("ad", ["42", "a/b", "a b", "{ad_id}", "/", "ü"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_rest_of_the_path_is_the_parameter_and_the_log_has_its_name_only(method, ad):
    assert replied(method, f"/ads/{ad}") == (200, f"{method} {{'ad_id': {ad!r}}}", "/ads/{ad_id}")


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/ads/", 404), ("GET", "/ads", 404), ("GET", "/advert/1", 404), ("POST", "/ads/1", 405),
    ("GET", "/ads:batch", 405)])
def test_path_is_not_found_without_its_parameter_and_names_all_methods_otherwise(method, path, status):
    found, body, endpoint = replied(method, path)
    assert (found, endpoint) == (status, "other")
    assert path != "/ads/1" or "use GET or HEAD or DELETE" in body
