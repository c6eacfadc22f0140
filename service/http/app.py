"""The HTTP application of one worker: requests for ads, probes, and what is served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from socket import socket

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from index_store.bundle.bundle import describe
from service.bundles.control_channel import Drain, Message, Release, Serve, Try, WorkerEnd
from service.bundles.hosted_bundles import HostedBundles
from service.bundles.sides import Sides
from service.contract.errors import ErrorType, ServiceError
from service.contract.info_schemas import InfoReply
from service.contract.parsing import Limits
from service.contract.replies import explanation_body, server_timing
from service.contract.retrieve_batch import RetrieveBatchReply, batch_body, read_queries
from service.contract.schemas import ExplainReply, ExplainRequest, RetrieveReply, RetrieveRequest
from service.http.admin import AdminApi
from service.http.admission import Admission
from service.http.ads import AdsApi
from service.http.answering import Answering, Asked
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
from service.http.trials import TrialsApi
from service.http.users import UsersApi
from service.live.follower import Follower
from service.live.log_place import LogPlace
from service.live.log_writer import LogWriter
from service.live.shared_log import SharedLog
from service.sampling.recent_requests import RecentRequests
from service.sampling.samplers import Samplers
from service.settings import Settings
from service.telemetry import metrics

VERSION = version("monn-hill")

_REFUSALS = {400: "the body is not valid JSON", 401: "the token is missing or wrong",
             403: "the token is of another scope", 408: "the body did not arrive in time", 413: "the body is too large",
             415: "the body is not declared as plain JSON", 422: "a field is missing, unknown or invalid",
             429: "overloaded, or too many requests; see Retry-After", 500: "the service failed",
             503: "not ready yet, or shutting down"}


class Api:
    """The endpoints of one worker.

    Attributes:
        bundles, samplers: there from the application's start to its end.
        entrance: of all calls that may need a token.
        draining: whether new requests for ads are refused, because the service is about to end.
    """

    bundles: HostedBundles
    samplers: Samplers

    def __init__(self, settings: Settings) -> None:
        self._settings, self._limits = settings, Limits.of(settings)
        self._admission = Admission(settings.search_threads, settings.max_queue)
        self._recent = RecentRequests(settings.recorded_requests)
        self._supervisor = WorkerEnd(self._told)
        self._answering = Answering(settings, self._admission, self._recent, lambda: self.bundles,
                                    lambda: self.samplers)
        self._admin = AdminApi(settings, self._supervisor, self._recent, self._refuse_if_draining)
        self._trials = TrialsApi(settings, self._supervisor, self._recent, lambda: self.samplers.shadow.only_one,
                                 self._refuse_if_draining)
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
                        EventsApi(calls, lambda: self.bundles.sides, lambda: self.samplers.calibration),
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
            *(route for api in self._of_log for route in api.routes), *self._admin.routes, *self._trials.routes,
            *self._inspection.routes, *self._page.routes]

    @asynccontextmanager
    async def serving(self, release: Release, control: socket) -> AsyncIterator[None]:
        """Opens the first bundle before the first request, then follows the supervisor."""
        await self._supervisor.connect(control)
        self.samplers = Samplers(self._settings)
        self.bundles = HostedBundles(self._settings, self._recent, self._supervisor.send, self._follower)
        self.entrance.open()
        await self.bundles.open(release)
        yield
        await self.samplers.close()
        await self.bundles.close()
        for opened in (self._follower, self._writer, self._log):
            if opened is not None:
                await asyncio.to_thread(opened.close)
        await self.entrance.close()

    def _told(self, message: Message) -> None:
        if isinstance(message, Serve):
            self.bundles.follow(message.release)
        elif isinstance(message, Try):
            self.bundles.try_out(message)
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
        with self._running() as sides:
            body = await self._admitted_body(request, sides)
            reply = await self._answering.reply(Asked(body, entry, sides, request.is_disconnected, entry.started))
            return Response(reply, media_type=JSON,
                            headers={"server-timing": server_timing(entry.details["latency_ms"])})

    async def retrieve_batch(self, request: Request) -> Response:
        """The best ads for each of many users, by lines of JSON; one that is refused leaves the others as they are."""
        batch = entry_of(request)
        with self._running() as sides:
            queries = read_queries(await self._admitted_body(request, sides, LINES, "in several batches"))

            async def answer(query: bytes, entry: AccessEntry) -> bytes:
                return await self._answering.reply(Asked(query, entry, sides, request.is_disconnected, batch.started))

            answers = await answer_batch(queries, answer, batch, at_once=self._settings.search_threads,
                                         client_left=request.is_disconnected)
            batch.details = {"bundle_id": sides.current.manifest.bundle_id, "queries": len(queries)}
            return Response(batch_body(answers), media_type=JSON)

    async def explain(self, request: Request) -> Response:
        """Why an ad was or was not returned to a user."""
        entry = entry_of(request)
        with self._running() as sides:
            body = await self._admitted_body(request, sides)
            host, answer = await self._answering.answer(
                Asked(body, entry, sides, request.is_disconnected, entry.started), ExplainRequest)
            explained = answer.explanation
            if explained is None:
                raise RuntimeError("the retriever returned no explanation although an ad was named")
            entry.details = {"bundle_id": host.manifest.bundle_id, "outcome": explained.of_search.outcome}
            self._admission.observe_reply(time.perf_counter() - answer.ended)
            return Response(explanation_body(explained, answer, host.manifest, entry.request_id), media_type=JSON)

    @contextmanager
    def _running(self) -> Iterator[Sides]:
        """The bundles that serve, one of which answers the whole request even if it is swapped out meanwhile."""
        sides = self.bundles.sides
        metrics.IN_FLIGHT.inc()
        try:
            with sides.request():
                yield sides
        finally:
            metrics.IN_FLIGHT.dec()

    async def _admitted_body(self, request: Request, sides: Sides, media_type: str = JSON, *less: str) -> bytes:
        """The body of a request for ads, unless none may come in now; `less` as in `read_body`."""
        if sides.current.problem is not None:
            raise sides.current.not_ready()
        self._admission.refuse_if_full()  # before the body is read: a refusal has to be cheap
        body = await read_body(request, self._settings, media_type, *less)
        if (trace := entry_of(request).trace) is not None:
            trace.stage("read")
        self._refuse_if_draining()  # afterwards: the connection closes, and nothing may be left unread in it
        return body

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
