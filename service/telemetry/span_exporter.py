"""Sends spans to the collector, counts what becomes of them, and logs when that begins and ceases to fail."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from service.telemetry import metrics
from service.telemetry.request_log import log


class _Reasons(logging.Filter):
    """Keeps the first thing that the library says about an export, and all of it out of the log: a line a second."""

    first: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        self.first = self.first or record.getMessage()
        return False


_reasons = _Reasons()


class CollectorExporter(OTLPSpanExporter):
    """The OTLP exporter over HTTP, as the standard variables OTEL_EXPORTER_OTLP_... set it.

    Attributes:
        taken: spans that it was given to send.
    """

    def __init__(self) -> None:
        super().__init__()
        logging.getLogger(trace_exporter.__name__).addFilter(_reasons)
        self._fails = False
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends spans, again if need be, until OTEL_EXPORTER_OTLP_TIMEOUT; then they are lost."""
        self.taken += len(spans)
        _reasons.first = None
        result = super().export(spans)
        if result is SpanExportResult.SUCCESS:
            metrics.SPANS.labels("exported").inc(len(spans))
            if self._fails:
                log("spans_exported")
        else:
            metrics.SPANS.labels("failed").inc(len(spans))
            if not self._fails:
                log("spans_lost", reason=_reasons.first)
        self._fails = result is not SpanExportResult.SUCCESS
        return result
