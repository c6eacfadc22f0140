"""The HTTP face of one worker: requests for ads, probes, what is served; and the OpenAPI document of all endpoints."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from importlib.metadata import version
from socket import socket
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from index_store.bundle.bundle import describe
from index_store.features.values import FeatureError
from index_store.targeting.predicates import PredicateError
from service.bundles.bundle_host import BundleHost
from service.bundles.control_channel import Drain, Message, Release, Serve, WorkerEnd
from service.bundles.hosted_bundles import HostedBundles
from service.contract.answer import Answer
from service.contract.errors import (
    ErrorType,
    ServiceError,
    from_feature_error,
    from_predicate_error,
    internal_error,
    shown,
)
from service.contract.parsing import Limits, parse_body, to_query
from service.contract.query import Query
from service.contract.replies import explanation_body, latency, reply_body, server_timing
from service.contract.schemas import ErrorReply, ExplainReply, ExplainRequest, RetrieveReply, RetrieveRequest
from service.http.admin import AdminApi
from service.http.admission import Admission, ClientLeftError, QueuedTurn
from service.http.direct import Direct, ErrorHandler
from service.http.observer import CLIENT_GONE, Observer, RequestRecord
from service.http.requests import JSON, json_reply, read_body, record_of
from service.sampling.beam_recorder import BeamRecorder
from service.sampling.quality_meter import QualityMeter
from service.sampling.recorder import Recorder
from service.settings import Settings
from service.telemetry import metrics

VERSION = version("monn-hill")


class Api:
    """The endpoints of one worker.

    Attributes:
        bundles, meter, beams: there from the application's start to its end.
        draining: whether new requests for ads are refused, because the service is about to end.
    """

    bundles: HostedBundles
    meter: QualityMeter
    beams: BeamRecorder

    def __init__(self, settings: Settings) -> None:
        self._settings, self._limits = settings, Limits.of(settings)
        self._admission = Admission(settings.search_threads, settings.max_queue)
        self._recorder = Recorder(settings.recorded_requests)
        self._supervisor = WorkerEnd(self._told)
        self.admin = AdminApi(settings, self._supervisor, self._recorder, self._refuse_if_draining)
        self.draining = False

    @asynccontextmanager
    async def serving(self, release: Release, control: socket) -> AsyncIterator[None]:
        """Opens the first bundle before the first request, and follows the supervisor from then on."""
        await self._supervisor.connect(control)
        self.meter = QualityMeter(self._settings.quality_sample_rate)
        self.beams = BeamRecorder(self._settings.beam_sample_rate, self._settings.beam_folder)
        self.bundles = HostedBundles(self._settings, self._recorder, self._supervisor.send)
        await self.bundles.open(release)
        yield
        await asyncio.gather(asyncio.to_thread(self.meter.close), asyncio.to_thread(self.beams.close))
        await self.bundles.close()

    def _told(self, message: Message) -> None:
        if isinstance(message, Serve):
            self.bundles.follow(message.release)
        elif isinstance(message, Drain):
            self.draining = True

    def _refuse_if_draining(self) -> None:
        """Raises ServiceError `draining` once this service has been told to end."""
        if self.draining:
            raise ServiceError(ErrorType.DRAINING, "this service ends soon and takes no more requests",
                               "ask another replica, or this address again in a moment", retry_after=1)

    async def retrieve(self, request: Request) -> Response:
        """The best ads for a user, best first."""
        record = record_of(request, "/retrieve")
        with self._running() as host:
            answer, turn = await self._answer(request, record, host, RetrieveRequest)
            total = time.perf_counter() - record.started
            stages = latency(answer, total)
            metrics.observe(answer, total)
            record.details = {"bundle_id": host.manifest.bundle_id, "ads": len(answer.ad_ids), "user": answer.user,
                              "user_cache": answer.user_cache, "degraded": answer.degraded,
                              "eligible": answer.found.eligible, "pairs_scored": answer.found.pairs_scored,
                              "latency_ms": stages}
            reply = Response(reply_body(answer, host.manifest, record.request_id, stages), media_type=JSON,
                             headers={"server-timing": server_timing(stages)})
            turn.replied()
            host.retriever.note_around(total - answer.times.queue - answer.times.search)
            return reply

    async def explain(self, request: Request) -> Response:
        """Why an ad was returned to a user, or was not."""
        record = record_of(request, "/explain")
        with self._running() as host:
            answer, turn = await self._answer(request, record, host, ExplainRequest)
            explained = answer.explanation
            if explained is None:
                raise RuntimeError("the retriever explained nothing, though an ad was named")
            record.details = {"bundle_id": host.manifest.bundle_id, "outcome": explained.of_search.outcome}
            turn.replied()
            return Response(explanation_body(explained, answer, host.manifest, record.request_id), media_type=JSON)

    @contextmanager
    def _running(self) -> Iterator[BundleHost]:
        """The bundle that a request begins with, and that it ends with whatever is swapped meanwhile."""
        host = self.bundles.current
        metrics.IN_FLIGHT.inc()
        try:
            with host.request():
                yield host
        finally:
            metrics.IN_FLIGHT.dec()

    async def _answer(self, request: Request, record: RequestRecord, host: BundleHost,
                      schema: type[RetrieveRequest]) -> tuple[Answer, QueuedTurn]:
        """Reads a body of this schema, waits for its turn, and searches."""
        retriever = host.retriever
        self._admission.refuse_if_full()  # before the body is read: a refusal has to be cheap
        body = await read_body(request, self._settings)
        self._refuse_if_draining()  # afterwards: the connection closes, and nothing may be left unread in it
        try:
            query = to_query(parse_body(body, schema), host.manifest, self._limits)
            if query.explain_ad is not None and not retriever.knows(query.explain_ad):
                raise ServiceError(ErrorType.UNKNOWN_AD,
                                   f"ad_id is {shown(query.explain_ad)}, the bundle has no such ad",
                                   "name an ad of the catalogue that the bundle was exported from")
            turn = QueuedTurn(self._admission, self._answer_by(record, query), request.is_disconnected)
            self._admission.refuse_if_late(turn.answer_by)
            answer = await retriever.retrieve(query, turn=turn)
            self.meter.offer(retriever, query, answer)
            self.beams.offer(retriever, query, answer)
        except FeatureError as error:
            raise from_feature_error(error, host.user_fields) from error
        except PredicateError as error:
            raise from_predicate_error(error) from error
        if query.explain_ad is None:
            self._recorder.note(body)
        return answer, turn

    def _answer_by(self, record: RequestRecord, query: Query) -> float | None:
        """The deadline, which counts from the arrival of the headers."""
        timeout_ms = self._settings.default_timeout_ms if query.timeout_ms is None else query.timeout_ms
        return record.started + timeout_ms / 1000 if timeout_ms else None

    async def livez(self, request: Request) -> Response:
        """200 as long as the process can answer at all."""
        record_of(request, "/livez")
        return json_reply({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """200 once a bundle has answered its golden requests rightly, 503 before, and again once it drains."""
        record_of(request, "/readyz")
        self._refuse_if_draining()
        return json_reply({"status": "ready", "bundle_id": self.bundles.current.retriever.bundle.bundle_id})

    async def startupz(self, request: Request) -> Response:
        """200 once a bundle has been ready for the first time, and ever after."""
        record_of(request, "/startupz")
        if not self.bundles.started:
            raise self.bundles.current.not_ready()
        return json_reply({"status": "started"})

    async def info(self, request: Request) -> Response:
        """What is served: bundle, tasks, features and limits."""
        record_of(request, "/info")
        host = self.bundles.current
        spec = host.spec
        return json_reply({"version": VERSION, "bundle": describe(host.manifest),
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
        record_of(request, "/metrics")
        return Response(await asyncio.to_thread(metrics.render), media_type=metrics.CONTENT_TYPE)


def create_app(release: Release, settings: Settings, control: socket) -> ASGIApp:
    """The ASGI application of one worker; the bundle is opened when it starts.

    Args:
        release: the bundle to begin with.
        settings: of the service.
        control: the way to the supervisor.
    """
    api = Api(settings)
    app = build_api(api, lambda _: api.serving(release, control))
    return Observer(Direct(app, {"/retrieve": api.retrieve, "/explain": api.explain}, _ERROR_HANDLERS))


def build_api(api: Api, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None) -> FastAPI:
    """Routes, error replies and documentation."""
    app = FastAPI(title="Ad retrieval", version=VERSION, description="MoNN scores, the HILL tree prunes.",
                  lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False,
                  exception_handlers=_ERROR_HANDLERS)
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorReply, "description": description} for status, description in (
            (400, "the body is no JSON"), (408, "the body did not come in time"), (413, "the body is too large"),
            (415, "the body is not declared as plain JSON"),
            (422, "a field is missing, unknown or unfit"),
            (429, "too much to do, see Retry-After"), (500, "the service failed"),
            (503, "not ready yet, or about to end"))}
    for path, asked, schema, reply in (("/retrieve", api.retrieve, RetrieveRequest, RetrieveReply),
                                       ("/explain", api.explain, ExplainRequest, ExplainReply)):
        body = {"required": True, "content": {JSON: {"schema": schema.model_json_schema()}}}
        app.add_api_route(path, asked, methods=["POST"], response_class=Response, response_model=None,
                          responses={200: {"model": reply, "description": "the answer"}, **refusals},
                          openapi_extra={"requestBody": body})
    for path, endpoint in (("/livez", api.livez), ("/readyz", api.readyz), ("/startupz", api.startupz),
                           ("/metrics", api.metrics), ("/info", api.info)):
        app.add_api_route(path, endpoint, methods=["GET"], response_class=Response, response_model=None,
                          responses={503: refusals[503]} if path in ("/readyz", "/startupz") else None)
    api.admin.add_routes(app)
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    if not isinstance(error, ServiceError):
        raise error
    request.scope["record"].error_type = error.error_type
    return Response(error.body(), error.status, error.headers, JSON)


async def _refuse_http(request: Request, error: Exception) -> Response:
    """What the router refuses: no such path, or not with this method."""
    if not isinstance(error, HTTPException) or error.status_code not in (404, 405):
        raise error
    path = request.url.path[:100]
    if error.status_code == 404:
        refusal = ServiceError(ErrorType.NOT_FOUND, f"there is no {path!r} here",
                               "use POST /retrieve or /explain, or GET /livez, /readyz, /startupz, /metrics, /info, "
                               "/openapi.json, or what docs/service.md says of /admin/")
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
