"""What calls to the change log have in common, on those about events and users; test_ads.py has those about ads."""

import asyncio

import pytest
from pydantic import SecretStr

from service.contract.errors import STATUS
from service.http import change_calls
from tests.service.http.app_in_process import in_app
from tests.service.http.change_log_calls import TOKEN, call, last

CLICK = b'{"user_id":"u","ad_id":"ad-0001","type":"click"}'
CALLS = [("POST", "/events", CLICK), ("PUT", "/users/u", {"features": {}}), ("DELETE", "/users/u", None)]


@pytest.mark.parametrize(("settings", "headers", "error_type"), [
    ({}, {"authorization": "Bearer no"}, "unauthorized"), ({"write_token": None}, {}, "writes_disabled"),
    ({"change_log": None}, {}, "no_change_log"), ({}, {"idempotency_key": "a b"}, "invalid_value"),
    ({}, {}, "draining")])
def test_calls_are_refused(tiny_bundle, tmp_path, settings, headers, error_type):
    async def check(app):
        app.api.draining = error_type == "draining"
        for request in CALLS:
            status, body = await call(app, *request, **headers)
            assert (status, body["error_type"]) == (STATUS[error_type], error_type), request
        assert not (tmp_path / "log").exists()

    in_app(tiny_bundle, check, **{"write_token": SecretStr(TOKEN), "change_log": SecretStr(str(tmp_path / "log")),
                                  **settings})


def test_calls_say_whether_they_are_applied(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(change_calls, "APPLIED_SECONDS", 60.0)

    async def check(app):
        for method, path, body in CALLS:
            assert (await call(app, method, f"{path}?wait=applied", body))[1]["applied"] is True
        await asyncio.to_thread(app.api._follower.close)
        monkeypatch.setattr(change_calls, "APPLIED_SECONDS", 0.1)
        for method, path, body in CALLS:
            assert (await call(app, method, path, body))[1]["applied"] is False
            assert (await call(app, method, f"{path}?wait=applied", body))[1]["error_type"] == "not_applied"
        assert await last(app) == 9

    in_app(tiny_bundle, check, write_token=TOKEN, change_log=str(tmp_path / "log"))
