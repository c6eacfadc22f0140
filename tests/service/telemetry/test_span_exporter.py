"""Spans of stages, and what becomes of them: counted, a line in the log when the collector fails and recovers."""

import logging

import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

from service.telemetry import metrics, span_exporter
from service.telemetry.request_trace import Stage
from service.telemetry.span_exporter import CollectorExporter
from tests.service.telemetry.otlp_receiver import OtlpReceiver

CLOCK = 1_700_000_000_000_000_000


@pytest.fixture
def logged(monkeypatch):
    """The lines of the log, and an exporter that has time, but not as much as the collector asks it to wait."""
    lines = []
    monkeypatch.setattr(span_exporter, "log", lambda event, **fields: lines.append((event, fields)))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    return lines


def counts():
    return {outcome: metrics.SPANS.labels(outcome)._value.get() for outcome in ("exported", "failed")}


def risen(before):
    return {outcome: value - before[outcome] for outcome, value in counts().items()}


class Keeper(SpanProcessor):
    """Keeps the spans that have ended."""

    def __init__(self):
        self.spans = []

    def on_end(self, span):
        self.spans.append(span)


def roots(exporter, number, stages=()):
    """Ended spans of requests with these stages, which the exporter has been given."""
    keeper, provider = Keeper(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(keeper)
    for at in range(number):
        span = provider.get_tracer("test").start_span(f"request {at}")
        exporter.add(span.get_span_context().span_id, stages, CLOCK)
        span.end()
    return keeper.spans


def test_stages_become_children_of_their_request_when_it_is_exported(logged, monkeypatch):
    inner = Stage("level 1", 2.25, 2.5, {"retrieval.level": 1})
    stages = [Stage("read", 1.0, 2.0), Stage("search", 2.0, 3.0, {"retrieval.scorer_ms": 0.5}, (inner,))]
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        exporter = CollectorExporter()
        given = roots(exporter, 2, stages)
        assert exporter.waiting == 8
        assert exporter.export(given) is SpanExportResult.SUCCESS
        assert exporter.waiting == 0
    names = ["read", "level 1", "search"]
    assert [span.name for span in receiver.spans] == [*names, "request 0", *names, "request 1"]
    assert len({span.span_id for span in receiver.spans}) == 8
    read, level, search, request = receiver.spans[:4]
    assert (read.parent, search.parent, level.parent) == (request.span_id, request.span_id, search.span_id)
    assert {span.trace_id for span in receiver.spans[:4]} == {request.trace_id}
    assert (level.began - CLOCK, level.ended - CLOCK) == (2_250_000_000, 2_500_000_000)
    assert (level.attributes, search.attributes) == ({"retrieval.level": 1}, {"retrieval.scorer_ms": 0.5})
    assert read.resource == request.resource


def test_outage_is_counted_and_logged_once_when_the_collector_fails_and_recovers(logged, monkeypatch, caplog):
    before = counts()
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        exporter = CollectorExporter()
        assert exporter.export(roots(exporter, 3)) is SpanExportResult.SUCCESS
        assert not logged
        receiver.status = 503
        for _ in range(2):
            assert exporter.export(roots(exporter, 2)) is SpanExportResult.FAILURE
        receiver.status = 200
        for _ in range(2):
            assert exporter.export(roots(exporter, 1)) is SpanExportResult.SUCCESS
    assert [event for event, _ in logged] == ["spans_lost", "spans_exported"]
    assert logged[0][1]["reason"]
    assert [span.name for span in receiver.spans] == ["request 0", "request 1", "request 2", "request 0", "request 0"]
    assert risen(before) == {"exported": 5, "failed": 4}
    assert exporter.waiting == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_reason_names_the_address_when_nothing_listens_there(logged, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)  # of the root, as some libraries set it
    with OtlpReceiver() as gone:
        pass
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", gone.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3.5")  # the first retry comes after 1.2 s at most
    before = counts()
    exporter = CollectorExporter()
    assert exporter.export(roots(exporter, 1)) is SpanExportResult.FAILURE
    assert risen(before) == {"exported": 0, "failed": 1}
    ((event, fields),) = logged
    assert event == "spans_lost"
    assert gone.url.rpartition(":")[2] in fields["reason"]
