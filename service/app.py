"""The HTTP face of the service: six endpoints around one BundleHost, and the OpenAPI document of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from index_store.predicates import PredicateError
from index_store.store import describe
from index_store.values import FeatureError
from service import metrics
from service.admission import ClientLeftError, QueuedTurn
from service.answer import Answer
from service.bundle_host import BundleHost
from service.direct import Direct, ErrorHandler
from service.errors import ErrorType, ServiceError, from_feature_error, from_predicate_error, internal_error, shown
from service.observer import CLIENT_GONE, Observer, RequestRecord
from service.parsing import Limits, parse_body, to_query
from service.quality_meter import QualityMeter
from service.query import Query
from service.replies import explanation_body, latency, reply_body, server_timing
from service.schemas import ErrorReply, ExplainReply, ExplainRequest, RetrieveReply, RetrieveRequest
from service.settings import Settings

VERSION = version("monn-hill")
_JSON = "application/json"


class Api:
    """The endpoints. `host` and `meter` are there from the application's start to its end."""

    host: BundleHost
    meter: QualityMeter

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder, self._settings, self._limits = folder, settings, Limits.of(settings)

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Opens the bundle before the first request, and warms it up while /livez answers already."""
        self.host = BundleHost(self._folder, self._settings)
        self.meter = QualityMeter(self._settings.quality_sample_rate)
        warming = asyncio.create_task(self.host.warm())
        yield
        warming.cancel()
        await asyncio.to_thread(self.meter.close)
        await self.host.close()

    async def retrieve(self, request: Request) -> Response:
        """The best ads for a user, best first."""
        record = _record(request, "/retrieve")
        host = self.host
        answer, turn = await self._answer(request, record, RetrieveRequest)
        total = time.perf_counter() - record.started
        stages = latency(answer, total)
        metrics.observe(answer, total)
        record.details = {"bundle_id": host.manifest.bundle_id, "ads": len(answer.ad_ids), "user": answer.user,
                          "user_cache": answer.user_cache, "degraded": answer.degraded,
                          "eligible": answer.found.eligible, "pairs_scored": answer.found.pairs_scored,
                          "latency_ms": stages}
        reply = Response(reply_body(answer, host.manifest, record.request_id, stages), media_type=_JSON,
                         headers={"server-timing": server_timing(stages)})
        turn.replied()
        host.retriever.note_around(total - answer.times.queue - answer.times.search)
        return reply

    async def explain(self, request: Request) -> Response:
        """Why an ad was returned to a user, or was not."""
        record = _record(request, "/explain")
        answer, turn = await self._answer(request, record, ExplainRequest)
        explained = answer.explanation
        if explained is None:
            raise RuntimeError("the retriever explained nothing, though an ad was named")
        record.details = {"bundle_id": self.host.manifest.bundle_id, "outcome": explained.of_search.outcome}
        turn.replied()
        return Response(explanation_body(explained, answer, self.host.manifest, record.request_id), media_type=_JSON)

    async def _answer(self, request: Request, record: RequestRecord,
                      schema: type[RetrieveRequest]) -> tuple[Answer, QueuedTurn]:
        """Reads a body of this schema, waits for its turn, and searches."""
        host = self.host
        retriever = host.retriever
        host.admission.refuse_if_full()  # before the body is read: a refusal has to be cheap
        body = await _read_body(request, self._settings.max_body_bytes)
        try:
            query = to_query(parse_body(body, schema), host.manifest, self._limits)
            if query.explain_ad is not None and not retriever.knows(query.explain_ad):
                raise ServiceError(ErrorType.UNKNOWN_AD,
                                   f"ad_id is {shown(query.explain_ad)}, the bundle has no such ad",
                                   "name an ad of the catalogue that the bundle was exported from")
            turn = QueuedTurn(host.admission, self._answer_by(record, query), request.is_disconnected)
            host.admission.refuse_if_late(turn.answer_by)
            answer = await retriever.retrieve(query, turn=turn)
            self.meter.offer(retriever, query, answer)
            return answer, turn
        except FeatureError as error:
            raise from_feature_error(error, host.user_fields) from error
        except PredicateError as error:
            raise from_predicate_error(error) from error

    def _answer_by(self, record: RequestRecord, query: Query) -> float | None:
        """The deadline, which counts from the arrival of the headers."""
        timeout_ms = self._settings.default_timeout_ms if query.timeout_ms is None else query.timeout_ms
        return record.started + timeout_ms / 1000 if timeout_ms else None

    async def livez(self, request: Request) -> Response:
        """200 as long as the process can answer at all."""
        _record(request, "/livez")
        return _json({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """200 once the bundle has answered its golden requests rightly, 503 before."""
        _record(request, "/readyz")
        return _json({"status": "ready", "bundle_id": self.host.retriever.bundle.bundle_id})

    async def info(self, request: Request) -> Response:
        """What is served: bundle, tasks, features and limits."""
        _record(request, "/info")
        spec = self.host.spec
        return _json({"version": VERSION, "bundle": describe(self.host.manifest),
                      "limits": {"max_top_k": self._limits.max_top_k, "max_beam_width": self._limits.max_beam_width,
                                 "max_excluded": self._limits.max_excluded,
                                 "min_timeout_ms": self._limits.min_timeout_ms,
                                 "max_body_bytes": self._settings.max_body_bytes},
                      "tasks": [task.name for task in spec.tasks],
                      "user_features": {field.name: field.kind for field in spec.user_fields},
                      "context": {field.name: field.kind for field in spec.context_fields},
                      "ad_features": {field.name: field.kind for field in spec.item_fields}})

    async def metrics(self, request: Request) -> Response:
        """Prometheus metrics of all workers together."""
        _record(request, "/metrics")
        return Response(await asyncio.to_thread(metrics.render), media_type=metrics.CONTENT_TYPE)


def create_app(folder: Path, settings: Settings) -> ASGIApp:
    """The ASGI application of one worker; the bundle is opened when it starts."""
    api = Api(folder, settings)
    return Observer(Direct(build_api(api), {"/retrieve": api.retrieve, "/explain": api.explain}, _ERROR_HANDLERS))


def build_api(api: Api) -> FastAPI:
    """Routes, error replies and documentation."""
    app = FastAPI(title="Ad retrieval", version=VERSION, description="MoNN scores, the HILL tree prunes.",
                  lifespan=api.lifespan, docs_url=None, redoc_url=None, redirect_slashes=False,
                  exception_handlers=_ERROR_HANDLERS)
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorReply, "description": description} for status, description in (
            (400, "the body is no JSON"), (413, "the body is too large"), (415, "the body is not declared as JSON"),
            (422, "a field is missing, unknown or unfit"),
            (429, "too much to do, see Retry-After"), (500, "the service failed"), (503, "not ready yet"))}
    for path, asked, schema, reply in (("/retrieve", api.retrieve, RetrieveRequest, RetrieveReply),
                                       ("/explain", api.explain, ExplainRequest, ExplainReply)):
        body = {"required": True, "content": {_JSON: {"schema": schema.model_json_schema()}}}
        app.add_api_route(path, asked, methods=["POST"], response_class=Response, response_model=None,
                          responses={200: {"model": reply, "description": "the answer"}, **refusals},
                          openapi_extra={"requestBody": body})
    for path, endpoint in (("/livez", api.livez), ("/readyz", api.readyz), ("/metrics", api.metrics),
                           ("/info", api.info)):
        app.add_api_route(path, endpoint, methods=["GET"], response_class=Response, response_model=None,
                          responses={503: refusals[503]} if path == "/readyz" else None)
    return app


async def _read_body(request: Request, limit: int) -> bytes:
    """The body of a request that declares JSON, read no further than the limit."""
    declared = request.headers.get("content-type", "")
    if declared.partition(";")[0].strip().lower() != _JSON:
        raise ServiceError(ErrorType.UNSUPPORTED_MEDIA_TYPE,
                           f"the request's Content-Type is {declared[:60]!r}, {_JSON} was expected",
                           f"send the header Content-Type: {_JSON}")
    too_large = ServiceError(ErrorType.BODY_TOO_LARGE, f"the body is larger than this service's limit of {limit} bytes",
                             "send less, such as fewer exclude_ad_ids or a shorter history")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise too_large
        parts.append(part)
    return b"".join(parts)


def _record(request: Request, endpoint: str) -> RequestRecord:
    record: RequestRecord = request.scope["record"]
    record.endpoint = endpoint
    return record


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type=_JSON)


async def _refuse(request: Request, error: Exception) -> Response:
    if not isinstance(error, ServiceError):
        raise error
    request.scope["record"].error_type = error.error_type
    headers = None if error.retry_after is None else {"retry-after": str(error.retry_after)}
    return Response(error.body(), error.status, headers, _JSON)


async def _refuse_http(request: Request, error: Exception) -> Response:
    """What the router refuses: no such path, or not with this method."""
    if not isinstance(error, HTTPException) or error.status_code not in (404, 405):
        raise error
    path = request.url.path[:100]
    if error.status_code == 404:
        refusal = ServiceError(ErrorType.NOT_FOUND, f"there is no {path!r} here",
                               "use POST /retrieve or /explain, or GET /livez, /readyz, /metrics, /info, /openapi.json")
    else:
        allowed = (error.headers or {}).get("Allow", "another method")
        refusal = ServiceError(ErrorType.METHOD_NOT_ALLOWED, f"{path} was asked with {request.method}",
                               f"use {allowed}")
    response = await _refuse(request, refusal)
    response.headers.update(error.headers or {})
    return response


async def _apologise(request: Request, _: Exception) -> Response:
    """Answers for a defect of ours; the framework then hands the exception on to the observer, which logs it."""
    return await _refuse(request, internal_error())


async def _client_gone(_: Request, __: Exception) -> Response:
    """Nobody reads this; the status tells log and metrics that it was not our failure."""
    return Response(status_code=CLIENT_GONE)


_ERROR_HANDLERS: dict[int | type[Exception], ErrorHandler] = {
    ServiceError: _refuse, HTTPException: _refuse_http, ClientDisconnect: _client_gone, ClientLeftError: _client_gone,
    Exception: _apologise}
