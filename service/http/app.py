"""The HTTP application of one worker: requests for ads, probes, and what is served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from importlib.metadata import version
from socket import socket

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from index_store.bundle.bundle import describe
from index_store.features.values import FeatureError, as_key
from index_store.search.exploration import seed_of
from index_store.targeting.predicates import PredicateError
from service.bundles.bundle_host import BundleHost
from service.bundles.control_channel import Drain, Message, Release, Serve, WorkerEnd
from service.bundles.hosted_bundles import HostedBundles
from service.contract.answer import Answer
from service.contract.errors import ErrorType, ServiceError, from_feature_error, from_predicate_error, shown
from service.contract.info_schemas import InfoReply
from service.contract.parsing import Limits, parse_body, to_query
from service.contract.query import Exploring, Query
from service.contract.replies import explanation_body, latency, reply_body, server_timing
from service.contract.retrieve_batch import RetrieveBatchReply, batch_body, read_queries
from service.contract.schemas import ExplainReply, ExplainRequest, RetrieveReply, RetrieveRequest
from service.http.admin import AdminApi
from service.http.admission import Admission, RequestQueue
from service.http.ads import AdsApi
from service.http.authorization import TokenScope
from service.http.campaigns import CampaignsApi
from service.http.change_calls import ChangeCalls
from service.http.console import ConsolePage
from service.http.dispatcher import Dispatcher, Route
from service.http.entrance import Entrance
from service.http.events import EventsApi
from service.http.inspection import InspectionApi
from service.http.observer import AccessEntry, Observer
from service.http.requests import JSON, LINES, entry_of, json_reply, read_body
from service.http.retrieve_batch import answer_batch
from service.http.users import UsersApi
from service.live.follower import Follower
from service.live.log_place import LogPlace
from service.live.log_writer import LogWriter
from service.live.shared_log import SharedLog
from service.sampling.beam_recorder import BeamRecorder
from service.sampling.calibration_meter import CalibrationMeter
from service.sampling.quality_meter import QualityMeter
from service.sampling.recent_requests import RecentRequests
from service.settings import Settings
from service.telemetry import metrics
from service.telemetry.answer_stages import tell_answer, tell_query

VERSION = version("monn-hill")

_REFUSALS = {400: "the body is not valid JSON", 401: "the token is missing or wrong",
             403: "the token is of another scope", 408: "the body did not arrive in time", 413: "the body is too large",
             415: "the body is not declared as plain JSON", 422: "a field is missing, unknown or invalid",
             429: "overloaded, or too many requests; see Retry-After", 500: "the service failed",
             503: "not ready yet, or shutting down"}


ClientLeft = Callable[[], Awaitable[bool]]


class Api:
    """The endpoints of one worker.

    Attributes:
        bundles, meter, calibration, beams: there from the application's start to its end.
        entrance: of all calls that may need a token.
        draining: whether new requests for ads are refused, because the service is about to end.
    """

    bundles: HostedBundles
    meter: QualityMeter
    calibration: CalibrationMeter
    beams: BeamRecorder

    def __init__(self, settings: Settings) -> None:
        self._settings, self._limits = settings, Limits.of(settings)
        self._admission = Admission(settings.search_threads, settings.max_queue)
        self._recent = RecentRequests(settings.recorded_requests)
        self._supervisor = WorkerEnd(self._told)
        self._admin = AdminApi(settings, self._supervisor, self._recent, self._refuse_if_draining)
        self._inspection = InspectionApi(settings, self._admission, self._recent, self._supervisor,
                                         lambda: self.bundles, self._refuse_if_draining)
        self._page = ConsolePage(settings)
        place = LogPlace.of(settings)
        self._log = None if place is None else SharedLog(place)
        self._follower = (None if self._log is None
                          else Follower(self._log, close_budgets=settings.budgets_without_log == "closed"))
        self._writer = None if self._log is None else LogWriter(self._log)
        calls = ChangeCalls(settings, self._writer, self._refuse_if_draining)
        self._of_log = (AdsApi(calls, lambda: self.bundles.current),
                        EventsApi(calls, lambda: self.bundles.current, lambda: self.calibration),
                        UsersApi(calls, lambda: self.bundles.current),
                        CampaignsApi(calls, lambda: self.bundles.current))
        self.entrance = Entrance(settings, VERSION)
        self._document: bytes | None = None
        self.draining = False

    @property
    def routes(self) -> list[Route]:
        """All endpoints."""
        not_ready = {503: _REFUSALS[503]}
        return [
            Route(path="/retrieve", method="POST", endpoint=self.retrieve, body=RetrieveRequest, reply=RetrieveReply,
                  refusals=_REFUSALS, scope=TokenScope.READ),
            Route(path="/retrieve:batch", method="POST", endpoint=self.retrieve_batch, body=RetrieveRequest,
                  media_type=LINES, reply=RetrieveBatchReply, refusals=_REFUSALS, scope=TokenScope.READ),
            Route(path="/explain", method="POST", endpoint=self.explain, body=ExplainRequest, reply=ExplainReply,
                  refusals=_REFUSALS, scope=TokenScope.READ),
            Route(path="/livez", method="GET", endpoint=self.livez),
            Route(path="/readyz", method="GET", endpoint=self.readyz, refusals=not_ready),
            Route(path="/startupz", method="GET", endpoint=self.startupz, refusals=not_ready),
            Route(path="/metrics", method="GET", endpoint=self.metrics),
            Route(path="/info", method="GET", endpoint=self.info, reply=InfoReply),
            Route(path="/openapi.json", method="GET", endpoint=self.openapi, documented=False),
            *(route for api in self._of_log for route in api.routes), *self._admin.routes, *self._inspection.routes,
            *self._page.routes]

    @asynccontextmanager
    async def serving(self, release: Release, control: socket) -> AsyncIterator[None]:
        """Opens the first bundle before the first request, then follows the supervisor."""
        await self._supervisor.connect(control)
        self.meter = QualityMeter(self._settings.quality_sample_rate)
        self.calibration = CalibrationMeter(self._settings.calibration_sample_rate)
        self.beams = BeamRecorder(self._settings.beam_sample_rate, self._settings.beam_folder)
        self.bundles = HostedBundles(self._settings, self._recent, self._supervisor.send, self._follower)
        self.entrance.open()
        await self.bundles.open(release)
        yield
        await asyncio.gather(*(asyncio.to_thread(sampler.close)
                               for sampler in (self.meter, self.calibration, self.beams)))
        await self.bundles.close()
        for opened in (self._follower, self._writer, self._log):
            if opened is not None:
                await asyncio.to_thread(opened.close)
        await self.entrance.close()

    def _told(self, message: Message) -> None:
        if isinstance(message, Serve):
            self.bundles.follow(message.release)
        elif isinstance(message, Drain):
            self.draining = True

    def _refuse_if_draining(self) -> None:
        """Raises ServiceError `draining` once the service is shutting down."""
        if self.draining:
            raise ServiceError(ErrorType.DRAINING, "this service is shutting down and accepts no more requests",
                               "ask another replica, or this address again in a moment", retry_after=1)

    async def retrieve(self, request: Request) -> Response:
        """The best ads for a user, best first."""
        entry = entry_of(request)
        with self._running() as host:
            body = await self._admitted_body(request, host)
            reply = await self._retrieved(body, entry, host, request.is_disconnected, entry.started)
            return Response(reply, media_type=JSON,
                            headers={"server-timing": server_timing(entry.details["latency_ms"])})

    async def retrieve_batch(self, request: Request) -> Response:
        """The best ads for each of many users, by lines of JSON; one that is refused leaves the others as they are."""
        batch = entry_of(request)
        with self._running() as host:
            queries = read_queries(await self._admitted_body(request, host, LINES, "in several batches"))

            async def answer(query: bytes, entry: AccessEntry) -> bytes:
                return await self._retrieved(query, entry, host, request.is_disconnected, batch.started)

            answers = await answer_batch(queries, answer, batch, at_once=self._settings.search_threads,
                                         client_left=request.is_disconnected)
            batch.details = {"bundle_id": host.manifest.bundle_id, "queries": len(queries)}
            return Response(batch_body(answers), media_type=JSON)

    async def explain(self, request: Request) -> Response:
        """Why an ad was or was not returned to a user."""
        entry = entry_of(request)
        with self._running() as host:
            body = await self._admitted_body(request, host)
            answer = await self._answer(body, entry, host, request.is_disconnected, entry.started, ExplainRequest)
            explained = answer.explanation
            if explained is None:
                raise RuntimeError("the retriever returned no explanation although an ad was named")
            entry.details = {"bundle_id": host.manifest.bundle_id, "outcome": explained.of_search.outcome}
            self._admission.observe_reply(time.perf_counter() - answer.ended)
            return Response(explanation_body(explained, answer, host.manifest, entry.request_id), media_type=JSON)

    @contextmanager
    def _running(self) -> Iterator[BundleHost]:
        """The current bundle, which answers the whole request even if it is swapped out meanwhile."""
        host = self.bundles.current
        metrics.IN_FLIGHT.inc()
        try:
            with host.request():
                yield host
        finally:
            metrics.IN_FLIGHT.dec()

    async def _admitted_body(self, request: Request, host: BundleHost, media_type: str = JSON, *less: str) -> bytes:
        """The body of a request for ads, unless none may come in now; `less` as in `read_body`."""
        if host.problem is not None:
            raise host.not_ready()
        self._admission.refuse_if_full()  # before the body is read: a refusal has to be cheap
        body = await read_body(request, self._settings, media_type, *less)
        if (trace := entry_of(request).trace) is not None:
            trace.stage("read")
        self._refuse_if_draining()  # afterwards: the connection closes, and nothing may be left unread in it
        return body

    async def _retrieved(self, body: bytes, entry: AccessEntry, host: BundleHost, client_left: ClientLeft,
                         arrived: float) -> bytes:
        """The JSON of a RetrieveReply, counted, and its figures in the entry; arguments as those of `_answer`."""
        answer = await self._answer(body, entry, host, client_left, arrived)
        total = time.perf_counter() - entry.started
        stages = latency(answer, total)
        metrics.observe(answer, total)
        entry.details = {"bundle_id": host.manifest.bundle_id, "ads": len(answer.ad_ids), "user": answer.user,
                         "user_cache": answer.user_cache, "degraded": answer.degraded,
                         "eligible": answer.found.eligible, "pairs_scored": answer.found.pairs_scored,
                         "latency_ms": stages}
        reply = reply_body(answer, host.manifest, entry.request_id, stages)
        self._admission.observe_reply(time.perf_counter() - answer.ended)
        host.retriever.beams.observe_overhead(total - answer.times.queue - answer.times.search)
        return reply

    async def _answer(self, body: bytes, entry: AccessEntry, host: BundleHost, client_left: ClientLeft,
                      arrived: float, schema: type[RetrieveRequest] = RetrieveRequest) -> Answer:
        """Searches once admission control admits the request.

        Args:
            body: of this schema.
            entry: of the request; a default deadline counts from its start.
            host: the bundle that answers.
            client_left: whether the client has disconnected.
            arrived: when the headers came, from which a `timeout_ms` counts.
            schema: of the body.
        """
        retriever = host.retriever
        try:
            query = self._exploring(to_query(parse_body(body, schema), host.manifest, self._limits), entry.request_id)
            snapshot = host.snapshot
            if query.explain_ad is not None and snapshot.row(as_key(query.explain_ad, "ad_id")) is None:
                raise ServiceError(ErrorType.UNKNOWN_AD, f"ad_id is {shown(query.explain_ad)}, which neither the "
                                   "bundle nor a change knows", "name an ad of the catalogue that the bundle was "
                                   "exported from, or one that PUT /ads/{ad_id} has added")
            answer_by = self._answer_by(query, arrived, entry.started)
            if entry.trace is not None:
                tell_query(entry.trace, query, host.manifest.bundle_id)
            self._admission.refuse_if_late(answer_by)
            queue = RequestQueue(self._admission, answer_by, client_left)
            answer = await retriever.retrieve(query, snapshot=snapshot, answer_by=answer_by, queue=queue)
            if entry.trace is not None:
                tell_answer(entry.trace, answer, answer_by)
            self.meter.offer(retriever, query, answer)
            self.beams.offer(retriever, query, answer)
        except FeatureError as error:
            raise from_feature_error(error, host.user_fields) from error
        except PredicateError as error:
            raise from_predicate_error(error) from error
        if query.explain_ad is None:
            self._recent.add(body)
        return answer

    def _exploring(self, query: Query, request_id: str) -> Query:
        """The query with what it explores, which its request id decides."""
        share = self._settings.explore if query.explore is None and not query.exact else query.explore
        if not share:
            return query
        return replace(query, exploring=Exploring(share=share, below=self._settings.explore_below,
                                                  seed=seed_of(request_id, query.user_id)))

    def _answer_by(self, query: Query, arrived: float, started: float) -> float | None:
        """The deadline: its own counts from the arrival, the default one from the start of its turn in a batch."""
        if query.timeout_ms is not None:
            return arrived + query.timeout_ms / 1000
        return started + self._settings.default_timeout_ms / 1000 if self._settings.default_timeout_ms else None

    async def livez(self, request: Request) -> Response:
        """200 as long as the process can answer at all."""
        return json_reply({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """200 once a bundle has answered its golden requests correctly, 503 before, and again once it drains."""
        self._refuse_if_draining()
        return json_reply({"status": "ready", "bundle_id": self.bundles.current.retriever.bundle.bundle_id})

    async def startupz(self, request: Request) -> Response:
        """200 once a bundle has been ready for the first time, and ever after."""
        if not self.bundles.started:
            raise self.bundles.current.not_ready()
        return json_reply({"status": "started"})

    async def info(self, request: Request) -> Response:
        """What is served: bundle, tasks, features and limits."""
        host = self.bundles.current
        spec = host.spec
        return json_reply({"version": VERSION, "bundle": describe(host.manifest),
                      "scorer": host.retriever.runs,
                      "limits": {"max_top_k": self._limits.max_top_k, "max_beam_width": self._limits.max_beam_width,
                                 "max_excluded": self._limits.max_excluded,
                                 "min_timeout_ms": self._limits.min_timeout_ms,
                                 "max_body_bytes": self._settings.max_body_bytes},
                      "tasks": [task.name for task in spec.tasks],
                      "user_features": {field.name: field.kind for field in spec.user_fields},
                      "context": {field.name: field.kind for field in spec.context_fields},
                      "model_context": {field.name: field.serve_as or None for field in spec.model_context},
                      "ad_features": {field.name: field.kind for field in spec.item_fields},
                      "roles": spec.roles, "bid_types": list(spec.paid),
                      "ecpm": host.retriever.bundle.content.calibrations is not None})

    async def metrics(self, request: Request) -> Response:
        """Prometheus metrics of all workers together."""
        return Response(await asyncio.to_thread(metrics.render), media_type=metrics.CONTENT_TYPE)

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document."""
        if self._document is None:
            self._document = await asyncio.to_thread(self._openapi)
        return Response(self._document, media_type=JSON)

    def _openapi(self) -> bytes:
        from service.http.openapi import document

        return json_reply(document(self.routes, VERSION)).body  # type: ignore[return-value]


def create_app(release: Release, settings: Settings, control: socket) -> ASGIApp:
    """The ASGI application of one worker; the bundle is opened when it starts.

    Args:
        release: the bundle to begin with.
        settings: of the service.
        control: the channel to the supervisor.
    """
    api = Api(settings)
    return Observer(Dispatcher(api.routes, lambda _: api.serving(release, control), api.entrance.check))
