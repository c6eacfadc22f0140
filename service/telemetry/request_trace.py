"""What the trace of one sampled request will tell: gathered while it runs, made into spans once it is answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Attribute = str | bool | int | float | Sequence[str]


@dataclass(frozen=True)
class Stage:
    """A part of a request; times are in seconds of `time.perf_counter()`.

    Attributes:
        attributes: of its span.
        parts: stages within it.
    """

    name: str
    began: float
    ended: float
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    parts: Sequence[Stage] = ()


def count(stages: Sequence[Stage]) -> int:
    """Number of spans that stages become, with their parts."""
    return sum(1 + count(stage.parts) for stage in stages)


@dataclass
class RequestTrace:
    """The trace of one sampled request.

    Attributes:
        trace_id: 32 hexadecimal digits.
        header: the value of the reply's `traceresponse`.
        began: when the headers had arrived, in seconds of `time.perf_counter()`.
        export: makes spans of it, given when the request ended; called once.
        stages: the children of its span.
        attributes: of its span.
        replying: since when its reply is being made and sent, if it is an answer.
        status, error_type: of its reply.
    """

    trace_id: str
    header: str
    began: float
    export: Callable[[RequestTrace, float], None]
    stages: list[Stage] = field(default_factory=list)
    attributes: dict[str, Attribute] = field(default_factory=dict)
    replying: float | None = None
    status: int = 0
    error_type: str = ""

    def stage(self, name: str) -> None:
        """Adds a stage that ends now and began as the last one ended, or else with the request."""
        self.stages.append(Stage(name, self.stages[-1].ended if self.stages else self.began, time.perf_counter()))

    def end(self, status: int, error_type: str) -> None:
        """Ends the request, whose reply has been sent."""
        ended = time.perf_counter()
        self.status, self.error_type = status, error_type
        if self.replying is not None:
            self.stages.append(Stage("reply", self.replying, ended))
        self.export(self, ended)

    def part(self, began: float) -> RequestTrace:
        """The trace of one query of a batch, which becomes one span of this trace, without stages.

        A batch may have a thousand queries; the times of their stages are in the log.
        """
        def add(query: RequestTrace, ended: float) -> None:
            self.stages.append(Stage("query", query.began, ended, {**query.attributes, **outcome(query)}))

        return RequestTrace(self.trace_id, self.header, began, add)


def outcome(trace: RequestTrace) -> dict[str, Attribute]:
    """The attributes of a reply, named as OpenTelemetry names them for HTTP servers."""
    found: dict[str, Attribute] = {"http.response.status_code": trace.status}
    return found | {"error.type": trace.error_type} if trace.error_type else found
