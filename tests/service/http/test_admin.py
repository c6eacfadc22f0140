"""The admin calls: who may make them, and what reaches the supervisor."""

import asyncio

import pytest

from service.bundles.control_channel import Call, Refusal
from service.contract.errors import ErrorType
from service.telemetry.request_log import flush
from tests.service.http.app_in_process import in_app

CALLS = [("GET", "/admin/bundles", None), ("POST", "/admin/bundles/load", {"bundle": "green"}),
         ("POST", "/admin/bundles/rollback", None)]
TOKEN = "s3cret-Ü"
RIGHT = f"Bearer {TOKEN}".encode()


async def statuses(app, **headers):
    replies = [await app.http.request(method, path, json=body, headers=headers) for method, path, body in CALLS]
    return {(reply.status_code, reply.json()["error_type"]) for reply in replies}


@pytest.mark.parametrize("given", [None, b"Bearer", RIGHT[:-1], RIGHT + b"x", RIGHT.replace(b"Bearer", b"Basic"),
                                   RIGHT[7:]])
def test_calls_are_refused_when_the_token_is_wrong(tiny_bundle, given, capfd):
    async def check(app):
        headers = {} if given is None else {"authorization": given}
        assert await statuses(app, **headers) == {(401, "unauthorized")}
        reply = await app.http.get("/admin/bundles", headers=headers)
        assert reply.headers["www-authenticate"] == "Bearer"
        assert not [message for message in app.supervisor.receive() if isinstance(message, Call)]

    in_app(tiny_bundle, check, admin_token=TOKEN)
    flush()
    assert "s3cret" not in capfd.readouterr().err


def test_calls_are_refused_when_the_service_has_no_token(tiny_bundle):
    async def check(app):
        assert await statuses(app, authorization="Bearer") == {(403, "admin_disabled")}

    in_app(tiny_bundle, check, admin_token=" ")


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer"])
def test_load_reaches_the_supervisor_with_recent_requests_when_the_token_is_right(tiny_bundle, scheme):
    async def check(app):
        await app.http.post("/retrieve", json={"user_id": "user-01"})
        asked = asyncio.create_task(app.http.post("/admin/bundles/load", json={"bundle": "green", "force": True},
                                                  headers={"authorization": scheme + RIGHT[6:]}))
        call = await app.next_call()
        assert (call.action, call.bundle, call.force) == ("load", "green", True)
        assert call.requests == [b'{"user_id":"user-01"}']
        app.answer(call, {"bundle": "green"})
        reply = await asked
        assert (reply.status_code, reply.json()) == (200, {"bundle": "green"})

    in_app(tiny_bundle, check, admin_token=TOKEN)


def test_refusal_of_the_supervisor_is_the_reply_when_it_refuses(tiny_bundle):
    async def check(app):
        asked = asyncio.create_task(app.http.post("/admin/bundles/rollback", headers={"authorization": RIGHT}))
        refusal = Refusal(ErrorType.BUNDLE_REFUSED, "it is worse", "load another", "a table")
        app.answer(await app.next_call(), refusal)
        reply = await asked
        assert reply.status_code == 409
        assert reply.json() == {"error_type": "bundle_refused", "message": "it is worse", "help": "load another",
                                "details": "a table"}

    in_app(tiny_bundle, check, admin_token=TOKEN)


def test_calls_are_refused_when_the_service_drains(tiny_bundle):
    async def check(app):
        app.api.draining = True
        assert await statuses(app, authorization=RIGHT) == {(503, "draining")}

    in_app(tiny_bundle, check, admin_token=TOKEN)
