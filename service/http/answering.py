"""Answering: from the body of a request to the answer of one of the bundles that serve, counted, logged and sampled."""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from index_store.declaration.values import FeatureError, as_key
from index_store.search.exploration import seed_of
from index_store.targeting.predicates import PredicateError
from service.bundles.bundle_host import BundleHost
from service.bundles.hosted_bundles import HostedBundles
from service.bundles.sides import Sides
from service.contract.answer import Answer
from service.contract.errors import ErrorType, ServiceError, from_feature_error, from_predicate_error, shown
from service.contract.parsing import Limits, parse_body, to_query
from service.contract.query import Exploring, Query
from service.contract.replies import latency, reply_body
from service.contract.schemas import RetrieveRequest
from service.http.admission import Admission, ClientLeftError, RequestQueue
from service.http.observer import AccessEntry
from service.sampling.recent_requests import RecentRequests
from service.sampling.samplers import Samplers
from service.sampling.shadow_meter import Opened
from service.settings import Settings
from service.telemetry import metrics
from service.telemetry.answer_stages import tell_answer, tell_query
from service.telemetry.request_log import log

ClientLeft = Callable[[], Awaitable[bool]]

_NO_ROOM = (ErrorType.OVERLOADED, ErrorType.DEADLINE_UNREACHABLE)
"""Refusals that have nothing to do with the bundle."""


@dataclass(frozen=True)
class Asked:
    """A request on its way.

    Attributes:
        body: of the request, or the line of a batch.
        entry: of the log; a default deadline counts from its start.
        sides: the bundles that may answer.
        client_left: whether the client has disconnected.
        arrived: when the headers came, from which a `timeout_ms` counts.
    """

    body: bytes
    entry: AccessEntry
    sides: Sides
    client_left: ClientLeft
    arrived: float


class Answering:
    """Answers requests for ads in one worker.

    Args:
        settings: of the service.
        admission: the queue in which searches wait.
        recent: takes the bodies that were answered.
        bundles, samplers: of this worker, once it has started.
    """

    def __init__(self, settings: Settings, admission: Admission, recent: RecentRequests,
                 bundles: Callable[[], HostedBundles], samplers: Callable[[], Samplers]) -> None:
        self._settings, self._limits, self._admission, self._recent = settings, Limits.of(settings), admission, recent
        self._bundles, self._samplers = bundles, samplers

    async def reply(self, asked: Asked) -> bytes:
        """The JSON of a RetrieveReply, counted, and its figures in the entry."""
        host, answer = await self.answer(asked)
        total = time.perf_counter() - asked.entry.started
        stages = latency(answer, total)
        metrics.observe(answer, total)
        asked.entry.details = {"bundle_id": host.manifest.bundle_id, "ads": len(answer.ad_ids), "user": answer.user,
                               "user_cache": answer.user_cache, "degraded": answer.degraded,
                               "eligible": answer.found.eligible, "pairs_scored": answer.found.pairs_scored,
                               "latency_ms": stages}
        reply = reply_body(answer, host.manifest, asked.entry.request_id, stages)
        self._admission.observe_reply(time.perf_counter() - answer.ended)
        host.retriever.beams.observe_overhead(total - answer.times.queue - answer.times.search)
        return reply

    async def answer(self, asked: Asked, schema: type[RetrieveRequest] = RetrieveRequest) -> tuple[BundleHost, Answer]:
        """The bundle that answers, and its answer, once admission control admits the request.

        What a canary refuses, or fails at, the current bundle answers: no user gets an error because of it.
        """
        request, sides = parse_body(asked.body, schema), asked.sides
        host = sides.of(request)
        if host is not sides.current:
            asked.entry.side = ("canary", host.manifest.bundle_id)
            answer = await self._of_canary(asked, request, host)
            if answer is not None:
                return host, answer
        if sides.canary is not None:
            asked.entry.side = ("current", sides.current.manifest.bundle_id)
        return sides.current, await self._of(asked, request, sides.current)

    async def _of_canary(self, asked: Asked, request: RetrieveRequest, host: BundleHost) -> Answer | None:
        """The canary's answer, None if it has none."""
        try:
            return await self._of(asked, request, host)
        except ServiceError as error:
            if error.error_type in _NO_ROOM:
                raise
            metrics.CANARY_FALLBACKS.labels("refused").inc()
        except ClientLeftError:
            raise
        except Exception as error:  # whatever it is, it is the bundle's: the current one answers, now and from now on
            metrics.CANARY_FALLBACKS.labels("failed").inc()
            log("canary_failed", bundle_id=host.manifest.bundle_id, request_id=asked.entry.request_id,
                traceback=traceback.format_exc())
            self._bundles().drop_canary(host, f"a request failed with {type(error).__name__}")
        return None

    async def _of(self, asked: Asked, request: RetrieveRequest, host: BundleHost) -> Answer:
        retriever = host.retriever
        with refusals(host):
            query = self._exploring(to_query(request, host.manifest, self._limits), asked.entry.request_id)
            snapshot = host.snapshot
            if query.explain_ad is not None and snapshot.row(as_key(query.explain_ad, "ad_id")) is None:
                raise ServiceError(ErrorType.UNKNOWN_AD, f"ad_id is {shown(query.explain_ad)}, which neither the "
                                   "bundle nor a change knows", "name an ad of the catalogue that the bundle was "
                                   "exported from, or one that PUT /ads/{ad_id} has added")
            answer_by = self._answer_by(query, asked.arrived, asked.entry.started)
            if asked.entry.trace is not None:
                tell_query(asked.entry.trace, query, host.manifest.bundle_id)
            self._admission.refuse_if_late(answer_by)
            queue = RequestQueue(self._admission, answer_by, asked.client_left)
            answer = await retriever.retrieve(query, snapshot=snapshot, answer_by=answer_by, queue=queue)
        if asked.entry.trace is not None:
            tell_answer(asked.entry.trace, answer, answer_by)
        self._sample(asked, query, answer, host)
        return answer

    def _sample(self, asked: Asked, query: Query, answer: Answer, host: BundleHost) -> None:
        samplers, shadow = self._samplers(), self._bundles().shadow
        samplers.quality.offer(host.retriever, query, answer)
        if host is asked.sides.current:  # a file of beams is of one bundle, and the shadow is beside the current one
            samplers.beams.offer(host.retriever, query, answer)
            if shadow is not None and shadow is not host:
                samplers.shadow.offer(query, answer, asked.body, Opened(host.retriever, answer.snapshot),
                                      Opened(shadow.retriever, shadow.snapshot))
        if query.explain_ad is None:
            self._recent.add(asked.body)

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


@contextmanager
def refusals(host: BundleHost) -> Iterator[None]:
    """Turns errors about features and targeting into refusals of the request."""
    try:
        yield
    except FeatureError as error:
        raise from_feature_error(error, host.user_fields) from error
    except PredicateError as error:
        raise from_predicate_error(error) from error
