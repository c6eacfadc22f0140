"""The calls about trials: what reaches the supervisor, and what the replies hold."""

import asyncio

import pytest

from service.bundles.control_channel import Call, Refusal
from service.contract.errors import ErrorType
from service.contract.trial_schemas import TrialsReply
from tests.service.http.app_in_process import in_app

TOKEN = "a token of this test"
HEADERS = {"authorization": f"Bearer {TOKEN}"}
STATE = {"canary": {"bundle": "green", "beside": "red", "share": 0.5, "ready": True}, "shadow": None,
         "ended": {"canary": None, "shadow": {"bundle": "blue", "reason": "it failed"}}, "trials_problem": None}


async def forwarded(app, method, path, body=None):
    """The call that reaches the supervisor, and the reply once it is answered."""
    asked = asyncio.create_task(app.http.request(method, path, json=body, headers=HEADERS))
    call = await app.next_call()
    app.answer(call, {**STATE, "seconds": 0.1, "comparison": None})
    reply = await asked
    assert reply.status_code == 200, reply.text
    assert reply.json()["canary"] == STATE["canary"]
    return call


@pytest.mark.parametrize(("method", "path", "body", "expected"), [
    ("POST", "/admin/canary", {"bundle": "green", "share": 0.25}, ("try", "green", "canary", 0.25, False)),
    ("POST", "/admin/canary", {"bundle": "green", "share": 1, "force": True}, ("try", "green", "canary", 1.0, True)),
    ("POST", "/admin/shadow", {"bundle": "blue"}, ("try", "blue", "shadow", 0.0, False)),
    ("DELETE", "/admin/canary", None, ("end", "", "canary", 0.0, False)),
    ("DELETE", "/admin/shadow", None, ("end", "", "shadow", 0.0, False))])
def test_call_reaches_the_supervisor(tiny_bundle, method, path, body, expected):
    async def check(app):
        await app.http.post("/retrieve", json={"user_id": "user-01"})
        call = await forwarded(app, method, path, body)
        assert (call.action, call.bundle, call.role, call.share, call.force) == expected
        tried = expected[0] == "try" and expected[2] == "canary"
        assert call.requests == ([b'{"user_id":"user-01"}'] if tried else [])

    in_app(tiny_bundle, check, admin_token=TOKEN)


@pytest.mark.parametrize(("path", "body"), [("/admin/canary", {"bundle": "green"}), ("/admin/shadow", {}),
                                            ("/admin/canary", {"bundle": "green", "share": 2})])
def test_call_is_refused_before_it_reaches_the_supervisor_when_its_body_does_not_fit(tiny_bundle, path, body):
    async def check(app):
        reply = await app.http.post(path, json=body, headers=HEADERS)
        assert reply.status_code == 422
        assert (await app.http.post(path, json=body)).status_code == 401
        assert not [message for message in app.supervisor.receive() if isinstance(message, Call)]

    in_app(tiny_bundle, check, admin_token=TOKEN)


def test_refusal_of_the_supervisor_is_the_reply(tiny_bundle):
    async def check(app):
        asked = asyncio.create_task(app.http.delete("/admin/shadow", headers=HEADERS))
        app.answer(await app.next_call(), Refusal(ErrorType.NO_TRIAL, "there is no shadow", "look"))
        reply = await asked
        assert (reply.status_code, reply.json()["error_type"]) == (409, "no_trial")

    in_app(tiny_bundle, check, admin_token=TOKEN)


def test_figures_and_state_are_shown_together(tiny_bundle):
    async def check(app):
        app.api.samplers.shadow.only_one.current.add(["ad-1", "ad-2"])
        app.api.samplers.shadow.only_one.current.add(["ad-2"])
        asked = asyncio.create_task(app.http.get("/admin/trials", headers=HEADERS))
        app.answer(await app.next_call(), {**STATE, "current": "red", "bundles": [], "workers": []})
        reply = TrialsReply.model_validate((await asked).json())
        assert (reply.canary.bundle, reply.ended.shadow.reason) == ("green", "it failed")
        assert [(entry.ad_id, entry.count) for entry in reply.only_current] == [("ad-2", 2), ("ad-1", 1)]
        assert reply.skipped.keys() == {"busy", "refused", "failed"}

    in_app(tiny_bundle, check, admin_token=TOKEN)
