"""Makes spans of the stages of requests and sends them to the collector, in the thread of the SDK's batch processor.

Counts what becomes of them, and logs when that begins and ceases to fail.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanContext

from service.telemetry import metrics
from service.telemetry.request_log import log
from service.telemetry.request_trace import Stage, count


class _Reasons(logging.Filter):
    """Keeps the first thing that the library says about an export, and all of it out of the log: a line a second."""

    first: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        self.first = self.first or record.getMessage()
        return False


_reasons = _Reasons()


class CollectorExporter(OTLPSpanExporter):
    """The OTLP exporter over HTTP, as the standard variables OTEL_EXPORTER_OTLP_... set it."""

    def __init__(self) -> None:
        super().__init__()
        logger = logging.getLogger(trace_exporter.__name__)
        logger.setLevel(logging.WARNING)  # whatever the root has: the first thing said is a warning
        logger.addFilter(_reasons)
        self._fails = False
        self._ids = RandomIdGenerator()
        self._stages: dict[int, tuple[Sequence[Stage], int]] = {}  # by the id of their request's span
        self._added = self._taken = 0  # each is written by one thread

    @property
    def waiting(self) -> int:
        """Number of spans that wait to be sent."""
        return self._added - self._taken

    def add(self, span_id: int, stages: Sequence[Stage], clock: int) -> None:
        """Keeps the stages of a request until its own span comes to be exported.

        Args:
            span_id: of that span, which ends after this.
            stages: that become its children.
            clock: nanoseconds from `time.perf_counter()` to the time since 1970.
        """
        self._stages[span_id] = stages, clock
        self._added += 1 + count(stages)

    def export(self, roots: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends the spans of requests, again if need be, until OTEL_EXPORTER_OTLP_TIMEOUT; then they are lost."""
        spans = [span for root in roots for span in self._whole(root)]
        self._taken += len(spans)
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

    def _whole(self, root: ReadableSpan) -> Iterator[ReadableSpan]:
        context = root.get_span_context()
        assert context is not None, "whatever was started has one"
        stages, clock = self._stages.pop(context.span_id)
        yield from self._children(root, context, stages, clock)
        yield root

    def _children(self, root: ReadableSpan, parent: SpanContext, stages: Iterable[Stage],
                  clock: int) -> Iterator[ReadableSpan]:
        """Spans within a trace that is sampled as a whole; a tracer would take four times as long to make them."""
        for stage in stages:
            context = SpanContext(parent.trace_id, self._ids.generate_span_id(), False, parent.trace_flags,
                                  parent.trace_state)
            yield from self._children(root, context, stage.parts, clock)
            yield ReadableSpan(stage.name, context, parent, root.resource, stage.attributes,
                               instrumentation_scope=root.instrumentation_scope,
                               start_time=nanoseconds(clock, stage.began), end_time=nanoseconds(clock, stage.ended))


def nanoseconds(clock: int, seconds: float) -> int:
    """Since 1970, of a time of `time.perf_counter()`; the clock as in `CollectorExporter.add`."""
    return clock + round(seconds * 1e9)
