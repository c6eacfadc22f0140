"""The trace of a request while it runs: stages one after the other, its outcome, the queries of a batch as parts."""

import time

from service.telemetry.request_trace import RequestTrace, Stage, count, outcome


def trace_of(exported):
    return RequestTrace("ab" * 16, "00-x", time.perf_counter(), lambda trace, ended: exported.append((trace, ended)))


def test_each_stage_begins_as_the_last_one_ended_and_the_reply_lasts_to_the_end():
    exported = []
    trace = trace_of(exported)
    trace.stage("read")
    trace.stage("parse")
    trace.replying = trace.stages[-1].ended
    trace.end(200, "")
    read, parse, reply = trace.stages
    assert [stage.name for stage in trace.stages] == ["read", "parse", "reply"]
    assert (read.began, parse.began, reply.began) == (trace.began, read.ended, parse.ended)
    assert exported == [(trace, reply.ended)]
    assert parse.began <= parse.ended <= reply.ended


def test_refused_request_has_no_reply_stage_and_tells_its_error():
    exported = []
    trace = trace_of(exported)
    trace.end(429, "overloaded")
    assert not trace.stages
    assert outcome(exported[0][0]) == {"http.response.status_code": 429, "error.type": "overloaded"}


def test_query_of_a_batch_is_one_stage_without_stages_of_its_own():
    exported = []
    batch = trace_of(exported)
    query = batch.part(time.perf_counter())
    query.stage("parse")
    query.attributes["retrieval.top_k"] = 3
    query.replying = query.stages[-1].ended
    query.end(200, "")
    assert not exported
    (stage,) = batch.stages
    assert (stage.name, stage.began, stage.parts) == ("query", query.began, ())
    assert stage.attributes == {"retrieval.top_k": 3, "http.response.status_code": 200}
    assert query.trace_id == batch.trace_id


def test_parts_are_counted_with_their_stage():
    leaf = Stage("level 1", 0.0, 1.0)
    assert count([Stage("search", 0.0, 1.0, {}, (leaf, Stage("inner", 0.0, 1.0, {}, (leaf,)))), leaf]) == 5
