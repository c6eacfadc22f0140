"""A collector as far as tests need one: receives spans by OTLP over HTTP, and keeps them.

    python -m tests.service.telemetry.otlp_receiver PORT      takes spans and forgets them, for measurements
"""

import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class ReceivedSpan:
    """A span; ids are in hexadecimal digits, times in nanoseconds, and a root's `parent` is empty."""

    name: str
    trace_id: str
    span_id: str
    parent: str
    state: str
    kind: int
    began: int
    ended: int
    failed: bool
    attributes: dict
    resource: dict


class OtlpReceiver:
    """Listens on this machine; `status` is what it replies, which waits while `open` is not set.

    With another status than 200 it asks to be left alone for an hour.
    """

    def __init__(self, port=0):
        self.open = threading.Event()
        self.open.set()
        self.spans, self.status, self.requests = [], 200, 0
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def environment(self, **variables):
        """Settings of a service that sends its spans here, soon."""
        return {"RETRIEVAL_TRACES": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "50",
                **variables}

    def wait_for(self, trace_id, name):
        """The spans of a trace, once the one of this name, which is sent last, has come."""
        self.wait_until(lambda: any(span.trace_id == trace_id and span.name == name for span in self.spans))
        return [span for span in self.spans if span.trace_id == trace_id]

    def wait_until(self, condition):
        """Waits until a condition on what was received holds."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_SECONDS), [span.name for span in self.spans]

    def _take(self, body):
        with self._changed:
            self.requests += 1
            if self.status == 200:
                self.spans += read(body)
            self._changed.notify_all()

    def _handler(self):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
                receiver._take(self.rfile.read(int(self.headers["content-length"])))
                receiver.open.wait(PATIENCE_SECONDS)
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                if receiver.status != 200:
                    self.send_header("retry-after", "3600")
                self.end_headers()

            def log_message(self, *_):
                pass

        return Handler


def read(body):
    """The spans of a request's body."""
    return [ReceivedSpan(span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                         span.trace_state, span.kind, span.start_time_unix_nano, span.end_time_unix_nano,
                         span.status.code == 2, _values(span.attributes), _values(of_resource.resource.attributes))
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in of_resource.scope_spans for span in scope.spans]


def _values(attributes):
    return {entry.key: _value(entry.value) for entry in attributes}


def _value(value):
    kind = value.WhichOneof("value")
    return [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)


if __name__ == "__main__":
    with OtlpReceiver(int(sys.argv[1])) as receiver:
        while True:
            time.sleep(1)
            receiver.spans.clear()
