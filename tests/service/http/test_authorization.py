"""Scopes: who may make which call, how often, and what the others are told."""

import pytest
from starlette.requests import Request

from service.contract.errors import ServiceError
from service.http.authorization import Authorization, RateLimit, TokenScope
from service.settings import Settings
from service.telemetry.request_log import flush
from tests.service.http.app_in_process import in_app

TOKENS = {"read_token": "s3cret-reader", "write_token": "s3cret-Ü", "admin_token": "s3cret-admin"}
RIGHT = "Bearer s3cret-Ü".encode()
CALLS = [("read", "POST", "/retrieve", {"user_id": "user-01"}),
         ("read", "POST", "/explain", {"user_id": "user-01", "ad_id": "ad-0001"}),
         ("write", "GET", "/ads/ad-0001", None), ("write", "GET", "/changes", None),
         ("write", "PATCH", "/ads/ad-0001", {"status": "paused"}), ("admin", "POST", "/admin/bundles/rollback", None),
         ("write", "POST", "/events", None), ("write", "PUT", "/users/user-01", {"features": {}}),
         ("write", "DELETE", "/users/user-01", None)]


def request(header):
    return Request({"type": "http", "headers": [] if header is None else [(b"authorization", header)]})


def refusal(authorization, scope, header):
    with pytest.raises(ServiceError) as caught:
        authorization.check(scope, request(header))
    return caught.value


@pytest.mark.parametrize("header", [RIGHT, b"bearer" + RIGHT[6:], RIGHT + b" "])
def test_call_passes_when_it_bears_the_token_of_its_scope(header):
    Authorization(Settings(**TOKENS)).check(TokenScope.WRITE, request(header))


@pytest.mark.parametrize("header", [None, b"Bearer", RIGHT[:-1], RIGHT + b"x", RIGHT.replace(b"Bearer", b"Basic"),
                                    RIGHT[7:]])
def test_call_is_unauthorized_when_the_token_is_nobodys(header):
    refused = refusal(Authorization(Settings(**TOKENS)), TokenScope.WRITE, header)
    assert (refused.error_type, refused.message) == ("unauthorized", "the write token is missing or wrong")
    assert "RETRIEVAL_WRITE_TOKEN" in refused.help


@pytest.mark.parametrize("needed", TokenScope)
@pytest.mark.parametrize("given", TokenScope)
def test_token_opens_its_own_scope_and_no_other(needed, given):
    authorization, header = Authorization(Settings(**TOKENS)), f"Bearer {TOKENS[given.token.replace(' ', '_')]}"
    if given is needed:
        authorization.check(needed, request(header.encode()))
        return
    refused = refusal(authorization, needed, header.encode())
    assert (refused.error_type, refused.status) == ("wrong_scope", 403)
    assert refused.message == f"this call needs the {needed} token, and was given the {given} token"
    assert f"RETRIEVAL_{needed.upper()}_TOKEN" in refused.help


def test_token_of_two_scopes_opens_both_when_both_settings_have_it():
    authorization = Authorization(Settings(read_token="r", write_token="one", admin_token="one"))
    for scope in (TokenScope.WRITE, TokenScope.ADMIN):
        authorization.check(scope, request(b"Bearer one"))
    assert "given the write token and admin token" in refusal(authorization, TokenScope.READ, b"Bearer one").message


@pytest.mark.parametrize(("scope", "error_type"), [(TokenScope.WRITE, "writes_disabled"),
                                                   (TokenScope.ADMIN, "admin_disabled")])
def test_every_call_is_refused_when_its_scope_has_no_token_but_reading_is_open(scope, error_type):
    without = Authorization(Settings())
    refused = refusal(without, scope, b"Bearer ")
    assert (refused.error_type, refused.status) == (error_type, 403)
    without.check(TokenScope.READ, request(None))


def test_limit_lets_a_second_of_calls_through_at_once_and_then_as_many_as_its_rate():
    now = [0.0]
    limit = RateLimit(TokenScope.WRITE, 4.0, lambda: now[0])
    for second, let_in in {0.0: 4, 0.5: 2, 1.0: 2, 10.0: 4}.items():
        now[0] = second
        for _ in range(let_in):
            limit.take()
        with pytest.raises(ServiceError, match="RETRIEVAL_WRITE_RATE") as caught:
            limit.take()
        assert (caught.value.error_type, caught.value.status, caught.value.retry_after) == ("rate_limited", 429, 1)


def test_limit_says_how_long_to_wait_when_it_is_less_than_one_a_second():
    now = [0.0]
    limit = RateLimit(TokenScope.ADMIN, 0.1, lambda: now[0])
    limit.take()
    now[0] = 2.5
    with pytest.raises(ServiceError, match=r"more than 0\.1 admin calls a second") as caught:
        limit.take()
    assert caught.value.retry_after == 8
    now[0] = 10.0
    limit.take()


def test_limit_is_none_when_the_rate_is_0():
    limit = RateLimit(TokenScope.READ, 0.0)
    for _ in range(10_000):
        limit.take()


def test_refused_token_takes_no_room_and_scopes_have_rooms_of_their_own():
    authorization = Authorization(Settings(**TOKENS, read_rate=0.01, write_rate=0.01))
    for _ in range(5):
        refusal(authorization, TokenScope.WRITE, b"Bearer no")
    authorization.check(TokenScope.WRITE, request(RIGHT))
    assert refusal(authorization, TokenScope.WRITE, RIGHT).error_type == "rate_limited"
    authorization.check(TokenScope.READ, request(b"Bearer s3cret-reader"))


def test_every_endpoint_asks_for_its_scope_and_no_log_line_has_a_token(tiny_bundle, tmp_path, capfd):
    async def check(app):
        for scope, method, path, body in CALLS:
            for name, token in {**TOKENS, "none": "wrong"}.items():
                if name == f"{scope}_token":
                    continue
                reply = await app.http.request(method, path, json=body, headers={
                    "authorization": f"Bearer {token}".encode()})
                assert (reply.status_code, reply.json()["error_type"]) == (
                    (401, "unauthorized") if name == "none" else (403, "wrong_scope")), path
                assert f"{scope} token" in reply.json()["message"]
        headers = {"authorization": "Bearer s3cret-reader"}
        assert (await app.http.post("/retrieve", json={"user_id": "user-01"}, headers=headers)).status_code == 200
        limited = await app.http.post("/retrieve", json={"user_id": "user-01"}, headers=headers)
        assert (limited.status_code, limited.json()["error_type"]) == (429, "rate_limited")
        assert int(limited.headers["retry-after"]) == 100
        changes = await app.http.get("/changes", headers={"authorization": RIGHT})
        assert changes.json()["last"] == 0
        for path in ("/livez", "/readyz", "/startupz", "/metrics", "/info", "/openapi.json"):
            assert (await app.http.get(path)).status_code == 200

    in_app(tiny_bundle, check, **TOKENS, change_log=str(tmp_path / "log"), read_rate=0.01)
    flush()
    assert "s3cret" not in capfd.readouterr().err
