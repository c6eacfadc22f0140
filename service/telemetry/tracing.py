"""Spans of sampled requests for an OpenTelemetry collector; imported only where RETRIEVAL_TRACES asks for them."""

from __future__ import annotations

import os
import socket
import threading
import time
from functools import partial

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, format_span_id, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers

from service.telemetry import metrics
from service.telemetry.request_trace import RequestTrace, count, outcome
from service.telemetry.span_exporter import CollectorExporter, nanoseconds

_ROOM = 4096
"""Spans that may wait to be sent, about 10 MB: those of 300 requests, or of a batch of the most queries."""

_AT_ONCE = 64
"""Requests whose spans are sent together."""

_CLOSE_SECONDS = 4.0
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
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter, max_queue_size=_ROOM,
                                                             max_export_batch_size=_AT_ONCE))
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
            f"{method} {route}", parent, SpanKind.SERVER, start_time=nanoseconds(clock, began),
            attributes={"http.request.method": method, "http.route": route, "url.scheme": "http"})
        if not span.is_recording():
            return None
        context = span.get_span_context()
        trace_id = format_trace_id(context.trace_id)
        header = f"00-{trace_id}-{format_span_id(context.span_id)}-{context.trace_flags:02x}"
        return RequestTrace(trace_id, header, began, partial(self._export, span, clock))

    def close(self) -> None:
        """Sends the spans that wait, for four seconds at most; waits for the collector, so not in the event loop."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def _export(self, span: Span, clock: int, trace: RequestTrace, ended: float) -> None:
        """Queues the spans of a request, all or none, so that no trace lacks a part."""
        spans = 1 + count(trace.stages)
        if self._exporter.waiting + spans > _ROOM:
            metrics.SPANS.labels("dropped").inc(spans)
            return
        self._exporter.add(span.get_span_context().span_id, trace.stages, clock)
        span.set_attributes({**trace.attributes, **outcome(trace)})
        if trace.status >= _FAILED:
            span.set_status(StatusCode.ERROR)
        span.end(nanoseconds(clock, ended))
