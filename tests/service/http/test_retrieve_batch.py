"""POST /retrieve:batch: answers as those of POST /retrieve, in order, a few at a time."""

import asyncio
import json
import time

import pytest

from service.contract.errors import ErrorType, ServiceError
from service.contract.retrieve_batch import RetrieveBatchReply
from service.contract.schemas import ErrorReply
from service.http import observer
from service.http.admission import ClientLeftError
from service.http.observer import AccessEntry
from service.http.retrieve_batch import answer_batch
from service.telemetry import metrics
from tests.service.http.app_in_process import in_app


async def post(app, *queries, **headers):
    lines = "\n".join(query if isinstance(query, str) else json.dumps(query) for query in queries)
    return await app.http.post("/retrieve:batch", content=lines,
                               headers={"content-type": "application/x-ndjson", **headers})


@pytest.fixture
def logged(monkeypatch):
    lines = []
    monkeypatch.setattr(observer, "log", lambda event, **fields: lines.append(fields))
    return lines


def answered_so_far():
    return (metrics.REQUESTS.labels("/retrieve", "200", "")._value.get(),
            metrics.REQUESTS.labels("/retrieve", "422", "invalid_value")._value.get())


def test_others_are_answered_as_alone_when_one_query_is_bad(tiny_bundle, logged):
    queries = [{"user_id": "user-01", "top_k": 3}, {"user_id": "user-02", "top_k": 0}, "{not json",
               {"user_id": "user-03", "explain": True}]

    async def check(app):
        before = answered_so_far()
        reply = await post(app, *queries, **{"x-request-id": "mail"})
        assert reply.status_code == 200
        found = RetrieveBatchReply.model_validate(reply.json(), strict=True).answers
        assert [(one.index, one.status) for one in found] == [(0, 200), (1, 422), (2, 400), (3, 200)]
        assert answered_so_far() == (before[0] + 2, before[1] + 1)
        assert [line["request_id"] for line in logged] == ["mail.0", "mail.1", "mail.2", "mail.3", "mail"]
        assert [line["endpoint"] for line in logged] == ["/retrieve"] * 4 + ["/retrieve:batch"]
        assert [line["error_type"] for line in logged] == [None, "invalid_value", "malformed_json", None, None]
        assert logged[4]["queries"] == 4
        assert "user-0" not in repr(logged)
        for query, one, as_sent in zip(queries, found, reply.json()["answers"], strict=True):
            content = query if isinstance(query, str) else json.dumps(query)
            alone = await app.http.post("/retrieve", content=content, headers={"content-type": "application/json"})
            assert alone.status_code == one.status
            if one.error is not None:
                assert as_sent["error"] == alone.json()
            else:
                assert as_sent["answer"]["ads"] == alone.json()["ads"]
                assert one.answer.request_id == f"mail.{one.index}"

    in_app(tiny_bundle, check)


def test_whole_batch_is_refused_when_it_cannot_begin(tiny_bundle):
    async def refused(app, error_type, *queries, **headers):
        reply = await post(app, *queries, **headers)
        ErrorReply.model_validate(reply.json())
        assert reply.json()["error_type"] == error_type

    async def check(app):
        query = {"user_id": "user-01"}
        await refused(app, "unauthorized", query)
        token = {"authorization": "Bearer read"}
        await refused(app, "invalid_value", *[query] * 1_001, **token)
        await refused(app, "invalid_value", "", **token)
        await refused(app, "body_too_large", "x" * 300_000, **token)
        await refused(app, "unsupported_media_type", query, **token, **{"content-type": "application/json"})
        admission = app.api._admission
        for _ in range(2):
            await admission._take_slot(None)
        await refused(app, "overloaded", query, **token)
        for _ in range(2):
            admission._leave_slot()
        app.api.draining = True
        await refused(app, "draining", query, **token)

    in_app(tiny_bundle, check, read_token="read", max_queue=0)


def test_own_deadline_counts_from_the_arrival_and_the_default_one_from_the_turn(tiny_bundle):
    async def check(app):
        late = {"user_id": "user-01", "timeout_ms": 2.0}
        reply = await post(app, *[{"user_id": "user-01"}] * 40, late)
        statuses = [one["status"] for one in reply.json()["answers"]]
        assert statuses == [200] * 40 + [429]
        assert reply.json()["answers"][-1]["error"]["error_type"] == "deadline_unreachable"
        assert reply.json()["answers"][-1]["retry_after"] >= 1

    in_app(tiny_bundle, check, default_timeout_ms=60_000, search_threads=1)


class Desk:
    """Answers queries once they are let go; notes how many were answered at once."""

    def __init__(self):
        self.now = self.most = 0

    async def answer(self, query, entry):
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(int(query) % 3):  # they do not end in order
            await asyncio.sleep(0)
        self.now -= 1
        if query == b"4":
            raise ServiceError(ErrorType.OVERLOADED, "full", "later", retry_after=2)
        if query == b"5":
            raise ZeroDivisionError
        return b'{"query":%b}' % query


def batch_of(desk, *, leave_after=1_000):
    asked = iter(range(1_000))

    async def client_left():
        await asyncio.sleep(0)
        return next(asked) >= leave_after

    entry = AccessEntry("a" * 64, time.perf_counter())
    queries = [b"%d" % number for number in range(20)]
    return asyncio.run(answer_batch(queries, desk.answer, entry, at_once=3, client_left=client_left))


def test_answers_are_in_order_and_a_few_at_a_time_when_some_fail(logged):
    desk = Desk()
    found = [json.loads(one) for one in batch_of(desk)]
    assert [one["index"] for one in found] == list(range(20))
    assert [one["answer"]["query"] for one in found if one["status"] == 200] == [*range(4), *range(6, 20)]
    assert (found[4]["error"]["error_type"], found[4]["retry_after"]) == ("overloaded", 2)
    assert (found[5]["status"], found[5]["error"]["error_type"]) == (500, "internal")
    assert "ZeroDivisionError" in next(line["traceback"] for line in logged if line["status"] == 500)
    assert desk.most == 3
    assert max(len(line["request_id"]) for line in logged) <= 64


def test_rest_is_left_when_the_client_has_gone(logged):
    with pytest.raises(ClientLeftError):
        batch_of(Desk(), leave_after=6)
    assert len(logged) <= 6
