"""POST /events in one worker: histories that follow, replies as documented, refusals that write nothing."""

import time

import pytest

from index_store.bundle.bundle import Bundle
from service.contract.event_schemas import EventsReply
from tests.service.http.app_in_process import in_app
from tests.service.http.change_log_calls import TOKEN, call, last, retrieve


@pytest.fixture
def with_log(tiny_bundle, tmp_path):
    """Runs `check(app)` on an application that has a change log and a write token."""
    return lambda check: in_app(tiny_bundle, check, write_token=TOKEN, change_log=str(tmp_path / "log"))


def lines(*events):
    return b"\n".join(b'{"user_id":"%s","ad_id":"%s","type":"%s"%s}' % event for event in events)


def test_next_answer_is_the_one_to_a_history_with_the_click(with_log, tiny_bundle):
    content = Bundle.open(tiny_bundle).content
    stored = [f"ad-{row:04d}" for row in content.users.history.row(content.users.row(b"user-01"))]

    async def check(app):
        reply = await call(app, "POST", "/events?wait=applied", lines(
            (b"stranger", b"ad-0007", b"click", b""), (b"stranger", b"ad-0007", b"conversion", b""),
            (b"user-01", b"ad-0009", b"click", b',"at":7,"request_id":"r"'), (b"user-01", b"ad-0003", b"click", b""),
            (b"user-02", b"ad-0009", b"impression", b"")))
        assert EventsReply.model_validate(reply[1]) == EventsReply(sequences=[1, 2, 3, 4, 5], applied=True)
        for user_id, history in [("stranger", ["ad-0007"]), ("user-01", ["ad-0003", "ad-0009", *stored])]:
            answer = await retrieve(app, user_id)
            inline = await retrieve(app, user_id, user_features={"history": history})
            assert (answer["ads"], answer["as_of"], answer["user"]) == (inline["ads"], 5, "known")
            assert (answer["user_cache"], inline["user_cache"]) == ("miss", "local")  # the same input of the user tower
        changes = (await call(app, "GET", "/changes?after=2&limit=1"))[1]["changes"]
        assert [(one["kind"], one["id"], one["fields"]) for one in changes] == [
            ("event", "user-01", {"ad_id": "ad-0009", "type": "click", "at": 7.0, "request_id": "r"})]

    with_log(check)


def test_nothing_is_written_when_one_line_is_bad(with_log):
    async def check(app):
        good = (b"u", b"ad-0001", b"click", b"")
        for error_type, bad in [
                ("ad_not_found", (b"u", b"none", b"click", b"")), ("invalid_line", (b"u", b"ad-0001", b"look", b"")),
                ("invalid_line", (b"u", b"ad-0001", b"click", b',"at":%d' % (time.time() + 1_000)))]:
            _, body = await call(app, "POST", "/events", lines(good, bad, good))
            assert (body["error_type"], body["message"][:6]) == (error_type, "line 2")
        assert (await call(app, "POST", "/events", {}))[1]["error_type"] == "unsupported_media_type"
        assert await last(app) == 0
        await call(app, "DELETE", "/ads/ad-0001")
        twice = [await call(app, "POST", "/events", lines(good, good), idempotency_key="k") for _ in range(2)]
        assert [body["sequences"] for _, body in twice] == [[2, 3], [2, 3]]  # a deleted ad still takes events
        reused = await call(app, "POST", "/events", lines((b"v", b"ad-0001", b"click", b"")), idempotency_key="k")
        assert (reused[0], reused[1]["error_type"]) == (409, "key_reused")

    with_log(check)
