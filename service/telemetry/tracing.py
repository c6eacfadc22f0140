"""Spans of sampled requests for an OpenTelemetry collector; imported only where RETRIEVAL_TRACES asks for them."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable
from functools import partial

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, format_span_id, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers

from service.telemetry import metrics
from service.telemetry.request_trace import RequestTrace, Stage, outcome
from service.telemetry.span_exporter import CollectorExporter

_ROOM = 4096
"""Spans that may wait to be sent, about 10 MB: those of 300 requests, or of a batch of the most queries."""

_CLOSE_SECONDS = 2.0
"""How long the end of a worker waits until its last spans are sent."""

_FAILED = 500
"""From this status on, a reply is the server's failure."""

_CONTEXT = TraceContextTextMapPropagator()


class Tracing:
    """Decides which requests are sampled, and exports their spans from a thread of its own.

    The SDK reads its standard variables: OTEL_TRACES_SAMPLER and others. To be made in the process that answers, since
    a fork would copy no thread.

    Args:
        version: of the service.
    """

    def __init__(self, version: str) -> None:
        named = {"service.name": "retrieval", "service.version": version, "host.name": socket.gethostname(),
                 "process.pid": os.getpid(), **OTELResourceDetector().detect().attributes}
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._exporter = CollectorExporter()
        self._waiting = _Counted(self._exporter, max_queue_size=_ROOM)
        self._provider.add_span_processor(self._waiting)
        self._tracer = self._provider.get_tracer("monn-hill", version)

    def begin(self, headers: Headers, method: str, route: str, began: float) -> RequestTrace | None:
        """The trace of a request that goes on in this process; None if it is not sampled.

        Args:
            headers: of the request; its `traceparent` and `tracestate` name the caller's span.
            method, route: of its endpoint. Its path is no attribute, since it may hold the id of a user.
            began: when they had arrived, in seconds of `time.perf_counter()`.
        """
        parent = _CONTEXT.extract({name: headers.getlist(name) for name in ("traceparent", "tracestate")}, Context())
        clock = time.time_ns() - time.perf_counter_ns()
        span = self._tracer.start_span(
            f"{method} {route}", parent, SpanKind.SERVER, start_time=_nanoseconds(clock, began),
            attributes={"http.request.method": method, "http.route": route, "url.scheme": "http"})
        if not span.is_recording():
            return None
        context = span.get_span_context()
        trace_id = format_trace_id(context.trace_id)
        header = f"00-{trace_id}-{format_span_id(context.span_id)}-{context.trace_flags:02x}"
        return RequestTrace(trace_id, header, began, partial(self._export, span, clock))

    def close(self) -> None:
        """Sends the spans that wait, for two seconds at most; waits for the collector, so not in the event loop."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def _export(self, span: Span, clock: int, trace: RequestTrace, ended: float) -> None:
        """Queues the spans of a request, all or none, so that no trace lacks a part."""
        spans = 1 + sum(stage.count() for stage in trace.stages)
        if self._waiting.ended - self._exporter.taken + spans > _ROOM:
            metrics.SPANS.labels("dropped").inc(spans)
            return
        self._add(trace.stages, span, clock)
        span.set_attributes({**trace.attributes, **outcome(trace)})
        if trace.status >= _FAILED:
            span.set_status(StatusCode.ERROR)
        span.end(_nanoseconds(clock, ended))

    def _add(self, stages: Iterable[Stage], parent: Span, clock: int) -> None:
        context = set_span_in_context(parent, Context())
        for stage in stages:
            span = self._tracer.start_span(stage.name, context, attributes=stage.attributes,
                                           start_time=_nanoseconds(clock, stage.began))
            self._add(stage.parts, span, clock)
            span.end(_nanoseconds(clock, stage.ended))


class _Counted(BatchSpanProcessor):
    """Counts the spans that have come to wait."""

    ended = 0

    def on_end(self, span: ReadableSpan) -> None:
        self.ended += 1
        super().on_end(span)


def _nanoseconds(clock: int, seconds: float) -> int:
    """Since 1970, of a time of `time.perf_counter()` and the distance of the two clocks."""
    return clock + round(seconds * 1e9)
