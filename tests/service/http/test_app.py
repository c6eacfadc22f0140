"""The endpoints of one worker, in this process."""

import json

from service.contract.errors import STATUS, ErrorType
from service.contract.schemas import RetrieveReply
from tests.paths import ROOT
from tests.service.http.app_in_process import in_app


def test_requests_are_answered_and_kept_for_the_next_bundle_when_the_bundle_is_warm(tiny_bundle):
    async def check(app):
        reply = await app.http.post("/retrieve", json={"user_id": "user-01", "top_k": 3})
        RetrieveReply.model_validate(reply.json())
        assert len(reply.json()["ads"]) == 3
        first = reply.json()["ads"][0]["ad_id"]
        explained = await app.http.post("/explain", json={"user_id": "user-01", "top_k": 3, "ad_id": first})
        assert explained.json()["outcome"] == "returned"
        assert [json.loads(body) for body in app.api._recent.bodies()] == [{"user_id": "user-01", "top_k": 3}]

    in_app(tiny_bundle, check)


def test_admission_learns_from_what_was_served_when_requests_are_answered(tiny_bundle):
    async def check(app):
        assert app.api._admission._service.mean == 0
        for _ in range(3):
            await app.http.post("/retrieve", json={"user_id": "user-01"})
        assert 0 < app.api._admission._service.mean < 10
        assert 0 < app.api._admission.reply_seconds < 10
        assert app.api._admission._taken == 0

    in_app(tiny_bundle, check)


def test_requests_are_refused_and_probes_tell_it_apart_when_the_service_drains(tiny_bundle):
    async def check(app):
        app.api.draining = True
        statuses = {path: (await app.http.get(path)).status_code for path in ("/livez", "/readyz", "/startupz")}
        assert statuses == {"/livez": 200, "/readyz": 503, "/startupz": 200}
        refused = await app.http.post("/retrieve", json={"user_id": "user-01"})
        assert refused.json()["error_type"] == "draining"
        assert refused.headers["connection"] == "close"

    in_app(tiny_bundle, check)


def test_deadline_is_the_default_one_when_a_request_names_none(tiny_bundle):
    async def check(app):
        reply = await app.http.post("/retrieve", json={"user_id": "user-01"})
        assert reply.json()["error_type"] == "deadline_unreachable"
        assert reply.status_code == STATUS[ErrorType.DEADLINE_UNREACHABLE]
        later = await app.http.post("/retrieve", json={"user_id": "user-01", "timeout_ms": 60_000})
        assert later.json()["coverage"] == 1.0

    in_app(tiny_bundle, check, default_timeout_ms=1e-6)


def test_limits_of_the_settings_are_told_when_asked(tiny_bundle):
    async def check(app):
        limits = (await app.http.get("/info")).json()["limits"]
        assert limits == {"max_top_k": 5, "max_beam_width": 6, "max_excluded": 7, "min_timeout_ms": 7.5,
                          "max_body_bytes": 8000}

    in_app(tiny_bundle, check, max_top_k=5, max_beam_width=6, max_excluded=7, min_timeout_ms=7.5, max_body_bytes=8000)


def test_document_is_the_committed_one_when_it_is_asked_for_over_http(tiny_bundle):
    async def check(app):
        reply = await app.http.get("/openapi.json")
        assert reply.headers["content-type"] == "application/json"
        assert reply.json() == json.loads((ROOT / "docs" / "openapi.json").read_text())

    in_app(tiny_bundle, check)
