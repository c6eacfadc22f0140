"""The retriever: from a user to the best ads, by features, user tower or cache, interaction keys and search."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import Bundle, BundleContent
from index_store.declaration.values import FeatureError, as_key
from index_store.features.history import History
from index_store.features.tower_inputs import dense_inputs, pool, user_bags
from index_store.features.vocabulary import look_up
from index_store.live.arrivals import Arrivals
from index_store.live.placement import Placement
from index_store.live.snapshot import Snapshot
from index_store.search.beam_curve import Beam
from index_store.search.beam_search import BeamSearch
from index_store.search.caps import Caps
from index_store.search.deadline import Deadline, SearchCost
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.explain import Explainer, PathStep
from index_store.search.exploration import Exploration
from index_store.search.newcomers import Newcomers
from index_store.search.ranking import SearchResult, first_task_weights
from index_store.search.scoring import TowerScorer, UserQuery
from index_store.speculation.corrections import Corrections
from index_store.targeting.eligibility import Eligible
from index_store.targeting.targeting import Targeting
from index_store.value.bids import Bid
from index_store.value.calibration import sigmoid
from index_store.value.valuation import Valuation
from service.contract.answer import AdExplanation, Answer, CacheLookup, Emptiness, StageTimes
from service.contract.query import EncodedUser, Query, SearchOptions, TowerInput
from service.retrieval.beam_choice import BeamChoice
from service.retrieval.emptiness import emptiness
from service.retrieval.explain import Searched, explain_ad
from service.retrieval.exploring import explored
from service.retrieval.onnx_towers import COMPILED, DenseRun, OnnxTowers
from service.retrieval.reference_users import reference_queries
from service.retrieval.search_queue import DeadlinePassedError, NoQueue, SearchQueue
from service.retrieval.single_flight import Flight, SingleFlight
from service.retrieval.speculated_pairs import PairsAsked, SpeculatedPairs, asked_pairs, rungs
from service.retrieval.user_encoder import UserEncoder
from service.shards.remote_shards import reached_shards
from service.shards.shard_access import ShardAccess


class EmbeddingCache(Protocol):
    """Embeddings of the user tower by the digest of its input."""

    async def get(self, key: bytes, answer_by: float | None = None, asked: PairsAsked | None = None) -> CacheLookup: ...

    def put(self, key: bytes, embedding: NDArray[np.float32]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class _PreparedQuery:
    """The input of a search thread, prepared by the event loop.

    Attributes:
        flight: computes the embedding once for all concurrent requests with the same tower input.
        lookup: what the cache had.
        snapshot: which ads may be returned.
        answer_by: deadline of the request, in seconds of `time.perf_counter()`; None for none.
    """

    query: Query
    user: EncodedUser
    tower_input: TowerInput
    flight: Flight[NDArray[np.float32]]
    lookup: CacheLookup
    snapshot: Snapshot
    answer_by: float | None


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The result of a search thread; a TimedSearch. Times are in seconds of `time.perf_counter()`.

    Attributes:
        computed: whether this search ran the user tower.
        began, embedded, allowed, searched, ended: when the thread took the search up, had the embedding, knew which ads
            may be returned, had the ads, was done.
        scorer_seconds: within the scorer.
    """

    result: SearchResult
    ad_ids: list[str]
    embedding: NDArray[np.float32]
    computed: bool
    began: float
    embedded: float
    allowed: float
    searched: float
    ended: float
    scorer_seconds: float
    coverage: float
    estimated_overlap: float | None
    bids: list[Bid | None] | None
    probabilities: NDArray[np.float32] | None
    paths: list[tuple[PathStep, ...]] | None
    explanation: AdExplanation | None
    empty: Emptiness | None
    exploration: Exploration | None
    rungs: Mapping[str, int] | None


class Retriever:
    """Answers queries from one bundle, as changed by a snapshot.

    Args:
        opened: the bundle.
        cache: for embeddings of the user tower; None computes each anew.
        search_threads: searches at the same time.
        dense: how the dense layers are computed.
        targeting_cache_entries: targeting signatures whose bitmaps are kept.
        shards: how those of a sharded bundle are reached; they stay connected until `close`.

    Attributes:
        sealed: the snapshot of the bundle alone, which counts where no other is given.
        runs: what computes the scorers, one line for people.

    Raises:
        BundleError: an ONNX graph is broken, the beam curve is malformed, or a shard is not there.
    """

    def __init__(self, opened: Bundle, *, cache: EmbeddingCache | None = None, search_threads: int = 1,
                 dense: DenseRun = COMPILED, targeting_cache_entries: int = 256,
                 shards: ShardAccess | None = None) -> None:
        content = opened.content
        self.bundle = opened
        self.targeting = Targeting(content.encoder, content.items, content.tree, content.targeting,
                                   targeting_cache_entries)
        self.beams = BeamChoice(opened)
        self._content, self._spec, self._cache = content, content.encoder.spec, cache
        self._users = UserEncoder(content, self.targeting)
        self._towers = OnnxTowers(opened, dense)
        self.runs = self._towers.runs
        self._shards = reached_shards(opened, shards)
        self.scorer = content.scorer(self._towers.layers, self._shards)
        self.sealed = Snapshot.sealed(content.encoder, content.tree, self.targeting,
                                      Arrivals(content, self._towers.item_tower,
                                               partial(_placement, self.scorer, content, self._towers)),
                                      opened.manifest.changes_included, content.bids, content.records, content.items)
        self._beam = BeamSearch(content.tree, self.scorer)
        self._exhaustive = ExhaustiveSearch(content.tree, self.scorer)
        self._threads = ThreadPoolExecutor(search_threads, "search")
        self._pairs = None if cache is None else SpeculatedPairs.of(opened)
        self._flights: SingleFlight[NDArray[np.float32]] = SingleFlight()
        self._beam_cost, self._exact_cost = SearchCost(), SearchCost()

    def close(self) -> None:
        """Waits for running searches."""
        self._threads.shutdown()
        if self._shards is not None:
            self._shards.close()

    def encode(self, query: Query, snapshot: Snapshot | None = None) -> EncodedUser:
        """The user of a query, see UserEncoder.encode."""
        return self._users.encode(query, snapshot or self.sealed)

    def excluded(self, query: Query, user: EncodedUser, snapshot: Snapshot | None = None) -> NDArray[np.int64]:
        """Rows of the ads that a query excludes, see Snapshot.row.

        Raises:
            FeatureError: an entry of exclude_ad_ids is not an id.
        """
        snapshot = snapshot or self.sealed
        rows = np.empty(0, np.int64)
        if query.exclude_ad_ids:
            rows = snapshot.rows(np.array([as_key(ad, "exclude_ad_ids") for ad in query.exclude_ad_ids]))
        if self._spec.exclude_history if query.exclude_history is None else query.exclude_history:
            rows = np.concatenate([rows, snapshot.newest(user.history)])
        return np.unique(rows[rows >= 0])

    def tower_input(self, user: EncodedUser, snapshot: Snapshot | None = None) -> TowerInput:
        history = self._history(user, snapshot)
        return TowerInput(dense_inputs(self._spec, "user", user.features.dense),
                          user_bags(self._spec, user.features, history.clicks, history.fields))

    def embed(self, tower_input: TowerInput) -> NDArray[np.float32]:
        """User embedding (1, Du) float32."""
        return self._towers.user_tower(pool(self._content.tables, tower_input.dense, tower_input.bags))

    def query(self, user: EncodedUser, embedding: NDArray[np.float32] | None = None,
              snapshot: Snapshot | None = None, corrections: Corrections | None = None) -> UserQuery:
        """The scorer's input for an encoded user; without an embedding the user tower runs."""
        if embedding is None:
            embedding = self.embed(self.tower_input(user, snapshot))
        query = self._content.query_of(embedding, user.features, self._history(user, snapshot), user.context)
        query.added, query.corrections = (snapshot or self.sealed).scored, corrections
        return query

    def _history(self, user: EncodedUser, snapshot: Snapshot | None) -> History:
        return (snapshot or self.sealed).history(user.history, self._content.item_keys)

    def eligible(self, user: EncodedUser, excluded: NDArray[np.int64],
                 snapshot: Snapshot | None = None) -> Eligible | None:
        """Which ads may be returned to a user, None for all; `excluded` are item rows."""
        return self.targeting.eligible(user.targeting, excluded, (snapshot or self.sealed).changed)

    def beam_of(self, query: Query, eligible: Eligible | None) -> Beam:
        """The beam that a query gets, see BeamChoice.of."""
        return self.beams.of(query, eligible)

    def search(self, user: EncodedUser, options: SearchOptions, embedding: NDArray[np.float32] | None = None,
               snapshot: Snapshot | None = None) -> SearchResult:
        """The best items of an encoded user, in this thread and without the cache."""
        eligible = self.eligible(user, options.excluded, snapshot)
        return self._search(self.query(user, embedding, snapshot), options, eligible, snapshot or self.sealed, None)

    def valuation(self, by_ecpm: bool, snapshot: Snapshot) -> Valuation | None:
        """What a search ranks by eCPM with; None where the score ranks."""
        if not by_ecpm:
            return None
        assert self._content.calibrations is not None, "whoever asks for eCPM has looked"
        return Valuation(self._content.calibrations, self._spec.paid, snapshot.bids)

    def caps(self, max_per: Mapping[str, int], snapshot: Snapshot) -> Caps | None:
        """The caps of a query; None if it has none."""
        if not max_per:
            return None
        return Caps.of(self._spec, max_per, self._content.items,
                       None if snapshot.added is None else snapshot.added.ads.features)

    def _search(self, query: UserQuery, options: SearchOptions, eligible: Eligible | None, snapshot: Snapshot,
                search_by: float | None, trace: bool = False) -> SearchResult:
        valuation, caps = self.valuation(options.by_ecpm, snapshot), self.caps(options.max_per, snapshot)
        cost = self._exact_cost if options.exact else self._beam_cost
        deadline = None if search_by is None else Deadline(search_by, cost)
        query.search_by = search_by
        if options.exact:
            found = self._exhaustive.search(query, top_k=options.top_k, task_weights=options.task_weights,
                                            eligible=eligible, deadline=deadline, valuation=valuation, caps=caps,
                                            trace=trace)
        else:
            exploring = options.exploring
            newcomers = None if exploring is None else Newcomers(snapshot.records, exploring.below)
            found = self._beam.search(query, top_k=options.top_k, beam_width=options.beam_width,
                                      task_weights=options.task_weights, eligible=eligible, deadline=deadline,
                                      valuation=valuation, caps=caps, trace=trace, newcomers=newcomers)
        for level in found.levels:
            if level.scored and "shard" not in found.cut_by:  # which may have been waited for
                cost.observe(level.level, level.scored, level.seconds)
        return found.from_ecpm(options.floor) if options.floor else found

    def score_ads(self, query: Query, ad_ids: Sequence[str]) -> NDArray[np.float32]:
        """Scores of named ads (N,) float32 for the user of a query, whether or not a search would return them.

        Raises:
            FeatureError: an ad is not in the bundle, or a feature of the query is invalid.
        """
        if not ad_ids:
            return np.empty(0, np.float32)
        rows = look_up(self._content.encoder.item_ids, np.array([as_key(ad, "ad_id") for ad in ad_ids]))
        if (rows < 0).any():
            raise FeatureError("ad_id", f"ad {ad_ids[int(rows.argmin())]!r} is not in the bundle",
                               "name ads of the bundle")
        tree = self._content.tree
        positions = tree.position_of_row[rows].astype(np.int64)
        logits = self.scorer.score(self.query(self.encode(query)), tree.depth, positions)
        scores: NDArray[np.float32] = logits @ query.task_weights
        return scores

    def probabilities_of(self, user_id: bytes, ad_id: bytes, snapshot: Snapshot,
                         context: Mapping[str, object] | None = None) -> NDArray[np.float32] | None:
        """Calibrated probabilities (tasks,) of an ad's labels for a user; None if ad or calibration are missing.

        Args:
            user_id, ad_id: of an impression.
            snapshot: of the time.
            context: of the impression; its own position counts here, not the one that the bundle serves.
        """
        row = snapshot.row(ad_id)
        if row is None or self._content.calibrations is None:
            return None
        weights = first_task_weights(len(self._spec.tasks))
        user = self.encode(Query(user_id=user_id, top_k=1, task_weights=weights, context=context), snapshot)
        query = self.query(user, snapshot=snapshot)
        if self._content.context is not None:
            query.shift = self._content.context.shift(user.context, as_logged=True)
        logits = self.scorer.score(query, self._content.tree.depth, snapshot.positions(np.array([row])))
        if np.isnan(logits).any():  # the shard that holds it is away
            return None
        return np.asarray(self._content.calibrations.probabilities(logits)[0], np.float32)

    async def retrieve(self, query: Query, *, snapshot: Snapshot | None = None, use_cache: bool = True,
                       answer_by: float | None = None, queue: SearchQueue | None = None) -> Answer:
        """Answers one query; the search runs in a thread, so that the event loop stays free.

        Args:
            query: what to answer.
            snapshot: what the change log says about ads and users; None for the bundle alone.
            use_cache: False neither reads nor writes the cache, if there is one.
            answer_by: deadline, in seconds of `time.perf_counter()`; None for none.
            queue: in which the search waits for a thread; None for none.

        Raises:
            FeatureError: a feature, a context field or an id of the query is invalid.
            PredicateError: its targeting is malformed.
            DeadlinePassedError: without a queue, the deadline had passed before the search.
        """
        start = time.perf_counter()
        snapshot = snapshot or self.sealed
        user = self.encode(query, snapshot)
        tower_input = self.tower_input(user, snapshot)
        encoded = time.perf_counter()
        cache = self._cache if use_cache else None
        prepared = partial(_PreparedQuery, query=query, user=user, tower_input=tower_input, snapshot=snapshot,
                           answer_by=answer_by)
        if cache is None:
            lookup, looked_up = CacheLookup(None, "bypass"), encoded
            found = await self._queued(queue, prepared(flight=Flight(), lookup=lookup))
        else:
            key = tower_input.digest()
            with self._flights.join(key) as flight:  # before the cache is asked, so that no two can miss each other
                lookup = await cache.get(key, answer_by, asked_pairs(self._pairs, query, user, snapshot))
                looked_up = time.perf_counter()
                found = await self._queued(queue, prepared(flight=flight, lookup=lookup))
                if found.computed:
                    cache.put(key, found.embedding)
        times = StageTimes(began=start, features=encoded - start, cache=looked_up - encoded,
                           queue=found.began - looked_up, user_tower=found.embedded - found.began,
                           search=found.searched - found.embedded, eligibility=found.allowed - found.embedded,
                           scorer=found.scorer_seconds)
        return _answer(user, snapshot, lookup, found, times)

    async def _queued(self, queue: SearchQueue | None, prepared: _PreparedQuery) -> _Found:
        def search(search_by: float | None) -> asyncio.Future[_Found]:
            return asyncio.get_running_loop().run_in_executor(self._threads, self._find, prepared, search_by)

        return await (queue or NoQueue()).run(search)

    def _find(self, prepared: _PreparedQuery, search_by: float | None) -> _Found:
        """The work of a search thread on one query."""
        began = time.perf_counter()
        if prepared.answer_by is not None and began >= prepared.answer_by:
            raise DeadlinePassedError
        query, user, snapshot, lookup = prepared.query, prepared.user, prepared.snapshot, prepared.lookup
        embedding, computed = ((lookup.embedding, False) if lookup.embedding is not None
                               else prepared.flight.value(lambda: self.embed(prepared.tower_input)))
        embedded = time.perf_counter()
        excluded = self.excluded(query, user, snapshot)
        eligible = self.eligible(user, excluded, snapshot)
        allowed = time.perf_counter()
        beam = self.beam_of(query, eligible)
        options = SearchOptions(top_k=query.top_k, beam_width=beam.beam_width, exact=query.exact,
                                task_weights=query.task_weights, excluded=excluded, by_ecpm=query.by_ecpm,
                                floor=query.floor, max_per=query.max_per, exploring=query.exploring)
        user_query = self.query(user, embedding, snapshot, lookup.corrections)
        trace = query.explain or query.explain_ad is not None
        result = self._search(user_query, options, eligible, snapshot, search_by, trace)
        caps = self.caps(query.max_per, snapshot) if trace or query.exploring is not None else None
        exploration = (None if query.exploring is None or result.pool is None else
                       explored(self._content, result, query.exploring, caps))
        shown = result if exploration is None else exploration.shown
        ad_ids = snapshot.ad_ids(shown.rows)
        searched = time.perf_counter()
        if not query.exact and "shard" not in result.cut_by:
            self.beams.observe_search(result.pairs_scored, searched - embedded)
        explainer = Explainer(self._content.tree, result, snapshot.placed, caps, query.top_k) if trace else None
        paths = explainer.paths(shown.rows) if explainer is not None and query.explain else None
        done = Searched(query, user, snapshot, embedding, exploration, lookup.corrections)
        explanation = (explain_ad(self, explainer, done, query.explain_ad)
                       if explainer is not None and query.explain_ad is not None else None)
        # Withdrawn ads alone leave the estimate as it is: the beam widens to hold as many ads as it did.
        targeted = eligible is not None and eligible.bitmap is not snapshot.changed.live and not query.exact
        bids = snapshot.bids.listed(snapshot.positions(shown.rows)) if query.by_ecpm else None
        return _Found(
            result=result, ad_ids=ad_ids, embedding=embedding, computed=computed, began=began, embedded=embedded,
            allowed=allowed, searched=searched, ended=time.perf_counter(), scorer_seconds=user_query.kernel_seconds,
            # A whole exhaustive search says nothing about how long the next request will take, and what a shard that
            # is away leaves out would have taken no longer.
            coverage=1.0 if query.exact or "shard" in result.cut_by else result.coverage,
            estimated_overlap=None if targeted or (query.max_per and not query.exact) else beam.overlap, bids=bids,
            probabilities=self.probabilities(shown.logits), paths=paths, explanation=explanation,
            empty=emptiness(self.targeting, user.targeting, snapshot, result), exploration=exploration,
            rungs=None if self._pairs is None else rungs(lookup.corrections, snapshot.positions(shown.rows)))

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Of the labels, (K, tasks); None where the tasks were not trained on impressions."""
        if not self.bundle.manifest.calibrated:
            return None
        calibrations = self._content.calibrations
        return (sigmoid(logits) if calibrations is None else calibrations.probabilities(logits)).astype(np.float32)


def _answer(user: EncodedUser, snapshot: Snapshot, lookup: CacheLookup, found: _Found, times: StageTimes) -> Answer:
    return Answer(
        ad_ids=found.ad_ids, found=found.result, snapshot=snapshot, user=user.kind, history=user.history_count,
        user_cache=lookup.use, degraded=(*lookup.degraded, *found.result.cut_by), times=times, ended=found.ended,
        estimated_overlap=found.estimated_overlap, bids=found.bids, probabilities=found.probabilities,
        paths=found.paths, explanation=found.explanation, empty=found.empty, exploration=found.exploration,
        unknown_context=user.unknown_context, corrections=lookup.corrections, rungs=found.rungs)


def _placement(scorer: TowerScorer, content: BundleContent, towers: OnnxTowers) -> Placement:
    return Placement(scorer, content.index, reference_queries(content, towers.user_tower))
