"""What becomes of spans: counted, and one line in the log when the collector begins to fail and when it recovers."""

import logging

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from service.telemetry import metrics, span_exporter
from service.telemetry.span_exporter import CollectorExporter
from tests.service.telemetry.otlp_receiver import OtlpReceiver


@pytest.fixture
def logged(monkeypatch):
    """The lines of the log, and an exporter that gives up before its first retry."""
    lines = []
    monkeypatch.setattr(span_exporter, "log", lambda event, **fields: lines.append((event, fields)))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    return lines


def counts():
    return {outcome: metrics.SPANS.labels(outcome)._value.get() for outcome in ("exported", "failed")}


def risen(before):
    return {outcome: value - before[outcome] for outcome, value in counts().items()}


def spans(count):
    """Ended spans."""
    kept = []

    class Keeper(SimpleSpanProcessor):
        def on_end(self, span):
            kept.append(span)

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Keeper(CollectorExporter()))
    for number in range(count):
        provider.get_tracer("test").start_span(f"span {number}").end()
    return kept


def test_outage_is_counted_and_logged_once_when_the_collector_fails_and_recovers(logged, monkeypatch, caplog):
    before = counts()
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        exporter = CollectorExporter()
        assert exporter.export(spans(3)) is SpanExportResult.SUCCESS
        assert not logged
        receiver.status = 503
        for _ in range(2):
            assert exporter.export(spans(2)) is SpanExportResult.FAILURE
        receiver.status = 200
        for _ in range(2):
            assert exporter.export(spans(1)) is SpanExportResult.SUCCESS
    assert [event for event, _ in logged] == ["spans_lost", "spans_exported"]
    assert logged[0][1]["reason"]
    assert [span.name for span in receiver.spans] == ["span 0", "span 1", "span 2", "span 0", "span 0"]
    assert risen(before) == {"exported": 5, "failed": 4}
    assert exporter.taken == 9
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_reason_names_the_address_when_nothing_listens_there(logged, monkeypatch):
    with OtlpReceiver() as gone:
        pass
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", gone.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1.5")  # the first retry comes after 1.2 s at most
    before = counts()
    assert CollectorExporter().export(spans(1)) is SpanExportResult.FAILURE
    assert risen(before) == {"exported": 0, "failed": 1}
    ((event, fields),) = logged
    assert event == "spans_lost"
    assert gone.url.rpartition(":")[2] in fields["reason"]
