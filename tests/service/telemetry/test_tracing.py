"""Traces of a real service, received over HTTP: the tree of spans, sampling, workers, faults of the collector."""

import signal
import socket
import time

import pytest
from starlette.datastructures import Headers

from service.telemetry import metrics, tracing
from service.telemetry.request_trace import Stage
from service.telemetry.tracing import Tracing
from tests.service.service_process import ADMIN_TOKEN, ServiceProcess
from tests.service.telemetry.otlp_receiver import OtlpReceiver

CALLER, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{CALLER}-{SPAN}-01"
QUERY = {"user_id": "user-04", "top_k": 10, "beam_width": [2, 3], "timeout_ms": 60_000}
SERVER = 2
"""Kind of a server's span in OTLP."""


@pytest.fixture(scope="module")
def receiver():
    with OtlpReceiver() as opened:
        yield opened


@pytest.fixture(scope="module")
def traced(receiver, tiny_bundle):
    """A service that samples by its callers' flag, and else everything."""
    with ServiceProcess(tiny_bundle, **receiver.environment(RETRIEVAL_WRITE_TOKEN="writer")) as process:
        yield process


def trace_id_of(reply):
    return reply.headers["traceresponse"].split("-")[1]


def line_of(service, reply):
    """The log line of a request."""
    return service.wait_until(lambda: next((event for event in service.events_named("request")
                                            if event["request_id"] == reply.headers["x-request-id"]), None))


def named(spans):
    assert len({span.name for span in spans}) == len(spans)
    return {span.name: span for span in spans}


def test_spans_form_the_tree_of_the_request_below_the_callers_span(traced, receiver):
    reply = traced.http.post("/retrieve", json=QUERY, headers={"traceparent": TRACEPARENT, "tracestate": "vendor=1"})
    assert reply.status_code == 200
    spans = named(receiver.wait_for(CALLER, "POST /retrieve"))
    assert set(spans) == {"POST /retrieve", "read", "parse", "features", "cache", "queue", "user_tower", "search",
                          "eligibility", "level 1", "level 2", "level 3", "reply"}
    root, search = spans["POST /retrieve"], spans["search"]
    assert (root.parent, root.state, root.kind, root.failed) == (SPAN, "vendor=1", SERVER, False)
    for name, span in spans.items():
        within = search if name.startswith(("level", "eligibility")) else root
        assert span is root or span.parent == within.span_id, name
        assert within.began <= span.began <= span.ended <= within.ended, name
    assert reply.headers["traceresponse"] == f"00-{CALLER}-{root.span_id}-01"
    assert line_of(traced, reply)["trace_id"] == CALLER
    assert root.resource["service.name"] == "retrieval"
    assert root.resource["process.pid"] == traced.worker_ids()[0]


def test_attributes_are_those_of_the_answer_and_levels_those_of_the_walk(traced, receiver):
    reply = traced.http.post("/retrieve", json=QUERY)
    answer = reply.json()
    walk = traced.http.post("/admin/walk", json=QUERY, headers={"authorization": f"Bearer {ADMIN_TOKEN}"}).json()
    spans = named(receiver.wait_for(trace_id_of(reply), "POST /retrieve"))
    given = dict(spans["POST /retrieve"].attributes)
    assert 0 < given.pop("retrieval.deadline_left_ms") < QUERY["timeout_ms"]
    assert given == {
        "http.request.method": "POST", "http.route": "/retrieve", "http.response.status_code": 200,
        "url.scheme": "http", "retrieval.request_id": answer["request_id"], "retrieval.bundle_id": answer["bundle_id"],
        "retrieval.top_k": 10, "retrieval.ads": 10, "retrieval.user": answer["user"],
        "retrieval.degraded": answer["degraded"], "retrieval.eligible": answer["eligible"],
        "retrieval.pairs_scored": answer["pairs_scored"], "retrieval.coverage": answer["coverage"]}
    assert spans["cache"].attributes == {"retrieval.user_cache": answer["user_cache"]}
    for step, asked, width in zip(walk["levels"], answer["latency_ms"]["levels"], (2, 3, 10), strict=True):
        level = spans[f"level {step['level']}"]
        assert level.attributes == {
            "retrieval.level": step["level"], "retrieval.candidates": step["candidates"],
            "retrieval.pairs_scored": step["scored"], "retrieval.kept": step["kept"],
            "retrieval.pruned": step["candidates"] - step["kept"], "retrieval.width": width}
        assert (level.ended - level.began) / 1e6 == pytest.approx(asked["ms"], abs=0.002)


def test_nothing_of_a_user_is_in_a_span(traced, receiver):
    secret = {"user_id": "user-of-secrets", "user_features": {"country": "atlantis", "history": ["ad-0007"]}}
    reply = traced.http.post("/retrieve", json=secret, headers={"authorization": "Bearer of-secrets"})
    put = traced.http.put("/users/user-of-secrets", json={"features": {"country": "atlantis"}},
                          headers={"authorization": "Bearer writer"})
    for replied, name in ((reply, "POST /retrieve"), (put, "PUT /users/{user_id}")):
        told = str(receiver.wait_for(trace_id_of(replied), name))
        assert not [word for word in ("secrets", "atlantis", "ad-0007", "writer") if word in told]


@pytest.mark.parametrize(("body", "media_type", "status", "error_type", "stages"), [
    (b'{"user_id": "user-01", "top_k": -1}', "application/json", 422, "invalid_value", {"read"}),
    (b'{"user_id": "user-01", "user_features": {"no": 1}}', "application/json", 422, "unknown_feature",
     {"read", "parse"}),
    (b"{}", "text/plain", 415, "unsupported_media_type", set())])
def test_refusal_tells_its_error_and_the_stages_that_it_came_through(traced, receiver, body, media_type, status,
                                                                     error_type, stages):
    reply = traced.http.post("/retrieve", content=body, headers={"content-type": media_type})
    spans = named(receiver.wait_for(trace_id_of(reply), "POST /retrieve"))
    assert set(spans) == {"POST /retrieve", *stages}
    root = spans["POST /retrieve"]
    assert (root.attributes["http.response.status_code"], root.attributes["error.type"]) == (status, error_type)
    assert not root.failed


def test_write_is_traced_and_a_wrong_token_too(traced, receiver):
    for token, status, error_type in (("writer", 409, "no_change_log"), ("wrong", 401, "unauthorized")):
        reply = traced.http.patch("/ads/ad-0001", json={"status": "paused"},
                                  headers={"authorization": f"Bearer {token}"})
        assert reply.status_code == status
        (root,) = receiver.wait_for(trace_id_of(reply), "PATCH /ads/{ad_id}")
        assert (root.attributes["http.response.status_code"], root.attributes["error.type"]) == (status, error_type)
        assert (root.attributes["http.route"], root.parent) == ("/ads/{ad_id}", "")


def test_queries_of_a_batch_are_spans_below_it(traced, receiver):
    lines = '{"user_id": "user-01", "top_k": 3}\n{"user_id": "user-02", "top_k": -1}'
    reply = traced.http.post("/retrieve:batch", content=lines, headers={"content-type": "application/x-ndjson"})
    spans = receiver.wait_for(trace_id_of(reply), "POST /retrieve:batch")
    root = spans[-1]
    queries = [span for span in spans if span.name == "query"]
    assert {span.parent for span in spans[:-1]} == {root.span_id}
    ids = [f"{reply.headers['x-request-id']}.{number}" for number in (0, 1)]
    assert [query.attributes["retrieval.request_id"] for query in queries] == ids
    assert [query.attributes["http.response.status_code"] for query in queries] == [200, 422]
    assert (queries[0].attributes["retrieval.ads"], queries[1].attributes["error.type"]) == (3, "invalid_value")
    lines = traced.wait_until(lambda: [event for event in traced.events_named("request")
                                       if event["request_id"] in ids])
    assert {line["trace_id"] for line in lines} == {root.trace_id}


def test_probes_and_metrics_are_not_traced(traced):
    for path in ("/livez", "/readyz", "/metrics", "/info", "/nowhere"):
        assert "traceresponse" not in traced.http.get(path, headers={"traceparent": TRACEPARENT}).headers


def test_request_exports_nothing_when_its_caller_has_not_sampled_it(traced, receiver):
    unsampled = "4bf92f3577b34da6a3ce929d0e0e4736"
    reply = traced.http.post("/retrieve", json=QUERY, headers={"traceparent": f"00-{unsampled}-{SPAN}-00"})
    assert (reply.status_code, "traceresponse" in reply.headers) == (200, False)
    assert "trace_id" not in line_of(traced, reply)
    later = traced.http.post("/retrieve", json=QUERY)
    receiver.wait_for(trace_id_of(later), "POST /retrieve")  # which is sent after what came before
    assert unsampled not in {span.trace_id for span in receiver.spans}


@pytest.mark.parametrize("header", ["", "garbage", f"00-{'0' * 32}-{SPAN}-01", f"00-{CALLER}-{'0' * 16}-01",
                                    f"ff-{CALLER}-{SPAN}-01"])
def test_trace_begins_here_when_the_callers_header_is_none(traced, receiver, header):
    reply = traced.http.post("/retrieve", json=QUERY, headers={"traceparent": header})
    root = receiver.wait_for(trace_id_of(reply), "POST /retrieve")[-1]
    assert root.parent == ""
    assert root.trace_id != CALLER


def test_standard_variables_set_the_sampler_and_the_name(receiver, tiny_bundle):
    with ServiceProcess(tiny_bundle, **receiver.environment(
            OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0", OTEL_SERVICE_NAME="mine",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test")) as process:
        assert "traceresponse" not in process.http.post("/retrieve", json=QUERY).headers
        sampled = "5bf92f3577b34da6a3ce929d0e0e4736"
        process.http.post("/retrieve", json=QUERY, headers={"traceparent": f"00-{sampled}-{SPAN}-01"})
        resource = receiver.wait_for(sampled, "POST /retrieve")[0].resource
        assert (resource["service.name"], resource["deployment.environment.name"]) == ("mine", "test")


def test_every_worker_sends_its_spans_and_the_last_ones_when_the_service_ends(receiver, tiny_bundle):
    with ServiceProcess(tiny_bundle, workers=2, **receiver.environment(OTEL_BSP_SCHEDULE_DELAY="60000")) as process:
        answered = {}
        while len(set(answered.values())) < 2:
            reply = process.http.post("/retrieve", json=QUERY, headers={"connection": "close"})
            answered[trace_id_of(reply)] = line_of(process, reply)["process_id"]
        assert not [span for span in receiver.spans if span.trace_id in answered]
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(60) == 0
        for trace_id, worker in answered.items():
            assert receiver.wait_for(trace_id, "POST /retrieve")[-1].resource["process.pid"] == worker


def test_answers_stay_as_they_are_and_the_service_ends_when_no_collector_is_there(tiny_bundle):
    with OtlpReceiver() as gone:
        pass
    with ServiceProcess(tiny_bundle, **gone.environment(OTEL_EXPORTER_OTLP_TIMEOUT="1")) as process:
        first = process.retrieve(**QUERY)
        assert "reason" in process.wait_for_event("spans_lost")
        assert process.retrieve(**QUERY)["ads"] == first["ads"]
        process.wait_until(lambda: process.metrics()['retrieval_spans_total{outcome="failed"}'] >= 13)
        assert len(process.events_named("spans_lost")) == 1
        assert not process.events_named("library")
        before = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(60) == 0
        assert time.monotonic() - before < 10


@pytest.fixture
def made(receiver, monkeypatch):
    """Tracing in this process; at its end all of its spans have been sent."""
    for name, value in receiver.environment(OTEL_BSP_SCHEDULE_DELAY="60000").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tracing, "_ROOM", 600)
    monkeypatch.setattr(tracing, "_AT_ONCE", 2)
    monkeypatch.setattr(tracing, "_CLOSE_SECONDS", 60)
    opened = Tracing("1.0")
    yield opened
    opened.close()


def begun(made, spans=1):
    """A trace that will become so many spans."""
    now = time.perf_counter()
    trace = made.begin(Headers(), "POST", "/retrieve", now)
    trace.stages += [Stage("level 1", now, now)] * (spans - 1)
    return trace


def test_whole_traces_are_dropped_when_too_many_spans_wait(made, receiver):
    dropped, asked = metrics.SPANS.labels("dropped"), receiver.requests
    before = dropped._value.get()
    traces = [begun(made, 200) for _ in range(8)]
    receiver.open.clear()
    try:
        for trace in traces[:2]:
            trace.end(200, "")
        receiver.wait_until(lambda: receiver.requests > asked)  # the exporter has taken these two, and waits
        for trace in traces[2:]:
            trace.end(200, "")
        assert dropped._value.get() - before == 600
    finally:
        receiver.open.set()
    made.close()
    found = [sum(span.trace_id == trace.trace_id for span in receiver.spans) for trace in traces]
    assert found == [200] * 5 + [0] * 3


@pytest.mark.parametrize(("status", "failed"), [(200, False), (499, False), (500, True), (503, True)])
def test_span_is_a_failure_when_the_server_is_to_blame(made, receiver, status, failed):
    trace = begun(made)
    trace.end(status, "")
    made.close()
    (span,) = receiver.wait_for(trace.trace_id, "POST /retrieve")
    assert span.failed == failed


def test_close_gives_up_after_a_while_when_the_collector_does_not_answer(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(tracing, "_CLOSE_SECONDS", 0.2)
        slow = Tracing("1.0")
        begun(slow).end(200, "")
        before = time.monotonic()
        slow.close()
        assert time.monotonic() - before < 5  # and not the exporter's ten
