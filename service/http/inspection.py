"""The admin calls that show what a bundle does: walks, ads, reach, the tree, figures, answers of other bundles."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from index_store.bundle.manifest import BundleError
from index_store.declaration.values import as_key
from index_store.live.snapshot import Snapshot
from service.bundles.bundle_host import BundleHost
from service.bundles.control_channel import Release, WorkerEnd
from service.bundles.hosted_bundles import HostedBundles
from service.console.ad_description import described, status_of
from service.console.figures import figures
from service.console.reach import reach_of
from service.console.replay import replayed
from service.console.tree_traffic import TreeTraffic
from service.console.walk import Walk
from service.contract.answer import Answer
from service.contract.console_schemas import (
    AdsReply,
    AdsRequest,
    BesideRequest,
    MetricsReply,
    ReachReply,
    TreeOptions,
    TreeReply,
    WalkReply,
)
from service.contract.errors import (
    ErrorType,
    ServiceError,
    ad_not_found,
    shown,
)
from service.contract.parsing import Limits, parse_body, to_query
from service.contract.query import Query
from service.contract.replies import latency, refused_by, reply_body
from service.contract.schemas import RetrieveReply, RetrieveRequest
from service.http.admission import Admission, RequestQueue
from service.http.answering import refusals
from service.http.authorization import TokenScope
from service.http.change_calls import options_of
from service.http.dispatcher import Route
from service.http.requests import JSON, entry_of, json_reply, read_body
from service.sampling.recent_requests import RecentRequests
from service.settings import Settings

_REFUSALS = {400: "the body is not valid JSON", 401: "the token is missing or wrong",
             403: "this service has no admin token, or the token is of another scope",
             408: "the body did not arrive in time", 413: "the body is too large",
             415: "the body is not declared as plain JSON", 422: "a field or parameter is invalid",
             429: "overloaded, or too many calls; see Retry-After", 500: "the service failed",
             503: "not ready yet, or shutting down"}

_TRAFFIC_SECONDS = 10.0
"""How long the recent requests that were searched again stand for the traffic of the tree."""

_Traffic = tuple[TreeTraffic, Snapshot, int]
"""What was measured, the snapshot that it saw, and the number of its requests."""


class InspectionApi:
    """The calls below /admin/ that show what a bundle does; they change nothing. The console makes them.

    Args:
        settings: of the service.
        admission: the queue in which searches wait.
        recent: requests of this worker, which are searched again.
        supervisor: the channel to the supervisor.
        bundles: of this worker, once it has started.
        refuse_if_draining: raises ServiceError once the service is about to end.
    """

    def __init__(self, settings: Settings, admission: Admission, recent: RecentRequests, supervisor: WorkerEnd,
                 bundles: Callable[[], HostedBundles], refuse_if_draining: Callable[[], None]) -> None:
        self._settings, self._limits, self._admission, self._recent = settings, Limits.of(settings), admission, recent
        self._supervisor, self._bundles, self._refuse_if_draining = supervisor, bundles, refuse_if_draining
        self._traffic: _Traffic | None = None

    @property
    def routes(self) -> list[Route]:
        admin, unknown = TokenScope.ADMIN, {404: "there is no such ad, bundle or node"}
        return [
            Route(path="/admin/walk", method="POST", endpoint=self.walk, body=RetrieveRequest, reply=WalkReply,
                  refusals=_REFUSALS, scope=admin),
            Route(path="/admin/ads", method="POST", endpoint=self.ads, body=AdsRequest, reply=AdsReply,
                  refusals=_REFUSALS, scope=admin),
            Route(path="/admin/reach/{ad_id}", method="GET", endpoint=self.reach, reply=ReachReply,
                  refusals=_REFUSALS | unknown, scope=admin),
            Route(path="/admin/tree", method="GET", endpoint=self.tree, query=TreeOptions, reply=TreeReply,
                  refusals=_REFUSALS | unknown, scope=admin),
            Route(path="/admin/metrics", method="GET", endpoint=self.metrics, reply=MetricsReply, refusals=_REFUSALS,
                  scope=admin),
            Route(path="/admin/bundles/retrieve", method="POST", endpoint=self.beside, body=BesideRequest,
                  reply=RetrieveReply, refusals=_REFUSALS | unknown | {
                      409: "the bundle cannot be opened, or this service has a single one"}, scope=admin)]

    async def walk(self, request: Request) -> Response:
        """The walk of a request through the tree: what it chose among at each level, what it dropped, by how much."""
        self._ready()
        sides = self._bundles().sides
        with sides.request():
            asked = parse_body(await read_body(request, self._settings), RetrieveRequest)
            return await self._walked(asked, sides.of(asked), request)

    async def _walked(self, asked: RetrieveRequest, host: BundleHost, request: Request) -> Response:
        with refusals(host):
            query = replace(to_query(asked, host.manifest, self._limits), explain=True)
            answer = await self._answer(host, query, request)
            retriever, snapshot, found = host.retriever, answer.snapshot, answer.found
            user = retriever.encode(query, snapshot)
            eligible = retriever.eligible(user, retriever.excluded(query, user, snapshot), snapshot)
            levels = await asyncio.to_thread(lambda: Walk(found, snapshot, eligible).levels())
            return json_reply({
                "request_id": entry_of(request).request_id, "bundle_id": host.manifest.bundle_id,
                "as_of": snapshot.as_of, "rank_by": "ecpm" if query.by_ecpm else "score", "user": answer.user,
                "eligible": found.eligible, "ads": snapshot.tree.n_items + snapshot.n_added,
                "pairs_scored": found.pairs_scored, "coverage": found.coverage, "levels": levels})

    async def ads(self, request: Request) -> Response:
        """What some ads are: features in words, targeting, bid."""
        host = self._ready()
        with host.request(), refusals(host):
            asked = parse_body(await read_body(request, self._settings, less="in several calls"), AdsRequest)
            snapshot = host.current
            rows = [snapshot.row(as_key(ad_id, "ad_id")) for ad_id in asked.ad_ids]
            found = await asyncio.to_thread(
                lambda: [described(host.retriever, snapshot, row) for row in rows if row is not None])
            return json_reply({"bundle_id": host.manifest.bundle_id, "ads": found})

    async def reach(self, request: Request) -> Response:
        """Who may see an ad, how many more would without each clause of its targeting, and what became of it lately."""
        host, queue = self._ready(), self._queue(request)
        with host.request(), refusals(host):
            ad_id = as_key(request.path_params["ad_id"], "ad_id").decode()
            retriever, snapshot = host.retriever, host.current
            row = snapshot.row(ad_id.encode())
            if row is None:
                raise ad_not_found(ad_id)
            content = retriever.bundle.content
            predicate = retriever.targeting.predicate_of(row, snapshot.changed)
            users = await asyncio.to_thread(reach_of, predicate, content.users, content.encoder)
            lately = [one.answer.explanation for one in await replayed(
                retriever, snapshot, self._recent.bodies(), queue, ad_id)]
            explained = [one for one in lately if one is not None]
            return json_reply({
                "bundle_id": host.manifest.bundle_id, "as_of": snapshot.as_of,
                "ad": described(retriever, snapshot, row), "status": status_of(snapshot, row), "users": users,
                "requests": len(explained), "outcomes": _counted(one.of_search.outcome for one in explained),
                "filtered_by": _counted(by["by"] for one in explained if one.of_search.outcome == "filtered"
                                        and (by := refused_by(one)) is not None)})

    async def tree(self, request: Request) -> Response:
        """The children of a node, and what recent requests did there."""
        host = self._ready()
        with host.request():
            options = options_of(request, TreeOptions)
            traffic, snapshot, requests = await self._recent_traffic(host, request)
            tree, level, node = snapshot.tree, options.level, options.node
            if level >= tree.depth or node >= (1 if level == 0 else tree.size(level)):
                sizes = ", ".join(str(tree.size(at)) for at in range(1, tree.depth))
                raise ServiceError(ErrorType.NOT_FOUND, f"the tree has no node {node} with children at level {level}",
                                   f"its levels above the ads have {sizes or 'no'} nodes, numbered from 0; level 0 is "
                                   "the root")
            children = np.arange(tree.size(1)) if level == 0 else tree.children(level, np.array([node]))
            path = [int(tree.ancestors(level, np.array([node]), above)[0]) for above in range(1, level)]
            nodes = await asyncio.to_thread(traffic.nodes, level + 1, children)
            return json_reply({
                "bundle_id": host.manifest.bundle_id, "levels": [tree.size(at) for at in range(1, tree.depth + 1)],
                "path": [*path, node] if level else [], "requests": requests, "level": level + 1,
                "total": len(children), "nodes": nodes, "mean_levels": traffic.mean_levels()})

    async def metrics(self, request: Request) -> Response:
        """The metrics of all workers of this replica, as JSON."""
        return json_reply(await asyncio.to_thread(figures, self._settings.port))

    async def beside(self, request: Request) -> Response:
        """What another bundle would answer; it is opened beside the current one, and closed again after a while."""
        self._refuse_if_draining()
        asked = parse_body(await read_body(request, self._settings), BesideRequest)
        release = await self._release(asked.bundle)
        try:
            host = await self._bundles().beside(release)
        except (BundleError, RuntimeError) as error:
            raise ServiceError(ErrorType.BUNDLE_REFUSED, str(error), "export it again, or name another") from error
        entry = entry_of(request)
        with host.request(), refusals(host):
            answer = await self._answer(host, to_query(asked, host.manifest, self._limits), request)
            stages = latency(answer, time.perf_counter() - entry.started)
            return Response(reply_body(answer, host.manifest, entry.request_id, stages), media_type=JSON)

    def _ready(self) -> BundleHost:
        """The current bundle, unless the service is not ready, drains or has no room in its queue."""
        self._refuse_if_draining()
        host = self._bundles().current
        if host.problem is not None:
            raise host.not_ready()
        self._admission.refuse_if_full()
        return host

    def _queue(self, request: Request) -> Callable[[], RequestQueue]:
        return lambda: RequestQueue(self._admission, None, request.is_disconnected)

    async def _answer(self, host: BundleHost, query: Query, request: Request) -> Answer:
        return await host.retriever.retrieve(query, snapshot=host.snapshot, use_cache=False,
                                             queue=self._queue(request)())

    async def _recent_traffic(self, host: BundleHost, request: Request) -> _Traffic:
        """Traffic that was measured a moment ago, or now."""
        snapshot, kept = host.current, self._traffic
        if kept is None or kept[1].tree is not snapshot.tree:
            found = await replayed(host.retriever, snapshot, self._recent.bodies(), self._queue(request))
            kept = self._traffic = TreeTraffic(snapshot, found), snapshot, len(found)
            asyncio.get_running_loop().call_later(_TRAFFIC_SECONDS, self._forget, kept)
        return kept

    def _forget(self, traffic: _Traffic) -> None:
        """Lets go of a measured traffic, which would keep a former bundle open."""
        if self._traffic is traffic:
            self._traffic = None

    async def _release(self, name: str) -> Release:
        """The bundle of a name beside the pointer."""
        listed = (await self._supervisor.call("list"))["bundles"]
        entry = next((entry for entry in listed if entry["bundle"] == name), None)
        if entry is None:
            raise ServiceError(ErrorType.UNKNOWN_BUNDLE, f"there is no bundle {shown(name)} beside the pointer",
                               f"name one of {', '.join(entry['bundle'] for entry in listed[-8:])}")
        if entry["problem"] is not None:
            raise ServiceError(ErrorType.BUNDLE_REFUSED, entry["problem"], "export it again, or name another")
        return Release(name, self._bundles().current.release.folder.parent / name, entry["bundle_id"])


def _counted(words: Iterable[str]) -> dict[str, int]:
    """Word -> how often, the most frequent first."""
    return dict(Counter(map(str, words)).most_common())  # as plain text, which an enumeration's member is not
