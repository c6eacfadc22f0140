"""From a user to the best ads: features -> user tower or cache -> interaction keys -> search. Knows no HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.features.encoder import FeatureEncoder, Features, FeatureSpec
from index_store.features.ragged import Ragged
from index_store.features.tower_inputs import pool, user_bags
from index_store.features.values import FeatureError, as_key, look_up
from index_store.search.beam_curve import Beam, BeamCurve
from index_store.search.beam_search import BeamSearch, widening
from index_store.search.deadline import Deadline, SearchCost
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.explain import Explainer, PathStep
from index_store.search.moving_average import MovingAverage
from index_store.search.ranking import SearchResult
from index_store.search.scoring import UserQuery
from index_store.search.search_time import SearchTime
from index_store.targeting.attributes import check_context
from index_store.targeting.eligibility import Eligible
from index_store.targeting.predicates import parse_predicate
from index_store.targeting.targeting import RequestTargeting, Targeting
from service.contract.answer import AdExplanation, Answer, CacheLookup, StageTimes
from service.contract.query import EncodedUser, Query, SearchOptions, TowerInput, UserKind
from service.retrieval.onnx_towers import OnnxTowers
from service.retrieval.single_flight import Flight, SingleFlight
from service.retrieval.turn import Turn

_NEWEST = 0.05
"""Share of the newest request in the time that requests spend outside of their search."""

class EmbeddingCache(Protocol):
    """Embeddings of the user tower by the digest of its input."""

    async def get(self, key: bytes, answer_by: float | None = None) -> CacheLookup: ...

    def put(self, key: bytes, embedding: NDArray[np.float32]) -> None: ...


@dataclass(frozen=True)
class _Found:
    result: SearchResult
    ad_ids: list[str]
    embedding: NDArray[np.float32]
    computed: bool
    estimated_overlap: float | None
    began: float
    user_tower: float
    search: float
    scorer: float
    paths: list[tuple[PathStep, ...]] | None
    explanation: AdExplanation | None


class Retriever:
    """Answers queries from one bundle.

    Args:
        opened: the bundle.
        cache: for embeddings of the user tower; None computes each anew.
        search_threads: searches at the same time.
        onnx_threads: threads of one scorer call.
        targeting_cache_entries: targeting signatures whose bitmaps are kept.

    Raises:
        BundleError: an ONNX graph is broken.
    """

    def __init__(self, opened: Bundle, *, cache: EmbeddingCache | None = None, search_threads: int = 1,
                 onnx_threads: int = 1, targeting_cache_entries: int = 256) -> None:
        content = opened.content
        self.bundle = opened
        self.targeting = Targeting(content.encoder, content.items, content.tree, content.targeting,
                                   targeting_cache_entries)
        self._content, self._spec, self._cache = content, content.encoder.spec, cache
        self._towers = OnnxTowers(opened, onnx_threads)
        self.scorer = content.scorer(self._towers.layers)
        self._beam = BeamSearch(content.tree, self.scorer)
        self._exhaustive = ExhaustiveSearch(content.tree, self.scorer)
        self._stranger = content.encoder.encode_user({})
        self._threads = ThreadPoolExecutor(search_threads, "search")
        self._flights: SingleFlight[NDArray[np.float32]] = SingleFlight()
        self._curve = read_curve(opened)
        self._beam_cost, self._exact_cost = SearchCost(), SearchCost()
        self._search_time, self._around = SearchTime(), MovingAverage(_NEWEST, start=0.0)

    def close(self) -> None:
        """Waits for running searches."""
        self._threads.shutdown()

    def encode(self, query: Query) -> EncodedUser:
        """The user's features: those of the bundle's user table, replaced field by field by those of the query.

        Raises:
            FeatureError: a feature or context field of the query is unknown or unfit.
            PredicateError: its targeting is malformed.
        """
        users, encoder = self._content.users, self._content.encoder
        row = users.row(query.user_id)
        if row >= 0:
            features, history = users.features.take(np.array([row])), users.history.row(row)
        else:
            features, history = self._stranger, np.empty(0, np.int32)
        if not query.user_features:
            kind: UserKind = "known" if row >= 0 else "unknown"
            return EncodedUser(features, history, kind, self._targeting(query, features if row >= 0 else None, {}))
        given = {name: value for name, value in query.user_features.items() if name != "history"}
        if "history" in query.user_features:
            history = encoder.encode_history(query.user_features["history"])
        replaced = _replaced(encoder, features, given)
        return EncodedUser(replaced, history, "inline", self._targeting(query, features if row >= 0 else None, given))

    def _targeting(self, query: Query, stored: Features | None, given: Mapping[str, Any]) -> RequestTargeting:
        encoder, context = self._content.encoder, query.context or {}
        check_context(encoder, context)
        asked = None if query.targeting is None else parse_predicate(query.targeting, encoder.spec.ad_kinds)
        return RequestTargeting(self.targeting.attributes(stored, given, context), asked)

    def knows(self, ad_id: str | int) -> bool:
        """Whether the bundle has an ad.

        Raises:
            FeatureError: this is no id.
        """
        return int(look_up(self._content.encoder.item_ids, np.array([as_key(ad_id, "ad_id")]))[0]) >= 0

    def item_rows(self, ad_ids: Sequence[str | int]) -> NDArray[np.int64]:
        """Rows of the ads that the bundle knows.

        Raises:
            FeatureError: an entry is no id.
        """
        if not ad_ids:
            return np.empty(0, np.int64)
        rows = look_up(self._content.encoder.item_ids, np.array([as_key(ad, "exclude_ad_ids") for ad in ad_ids]))
        return np.unique(rows[rows >= 0])

    def tower_input(self, user: EncodedUser) -> TowerInput:
        history = Ragged.one_row(user.history)
        return TowerInput(user.features.dense,
                          user_bags(self._spec, user.features, history, self._content.item_keys))

    def embed(self, tower_input: TowerInput) -> NDArray[np.float32]:
        """User embedding (1, Du) float32."""
        return self._towers.user_tower(pool(self._content.tables, tower_input.dense, tower_input.bags))

    def query(self, user: EncodedUser, embedding: NDArray[np.float32] | None = None) -> UserQuery:
        """What the scorer reads of an encoded user; without an embedding the user tower runs."""
        if embedding is None:
            embedding = self.embed(self.tower_input(user))
        return self._content.query(embedding, user.features, user.history)

    def search(self, user: EncodedUser, options: SearchOptions,
               embedding: NDArray[np.float32] | None = None) -> SearchResult:
        """The best items of an encoded user, in this thread and without the cache."""
        return self._search(self.query(user, embedding), options, self.eligible(user, options.excluded), None)

    def _search(self, query: UserQuery, options: SearchOptions, eligible: Eligible | None, search_by: float | None,
                trace: bool = False) -> SearchResult:
        cost = self._exact_cost if options.exact else self._beam_cost
        deadline = None if search_by is None else Deadline(search_by, cost)
        if options.exact:
            found = self._exhaustive.search(query, top_k=options.top_k, task_weights=options.task_weights,
                                            eligible=eligible, deadline=deadline, trace=trace)
        else:
            found = self._beam.search(query, top_k=options.top_k, beam_width=options.beam_width,
                                      task_weights=options.task_weights, eligible=eligible, deadline=deadline,
                                      trace=trace)
        for level in found.levels:
            if level.scored:
                cost.observe(level.level, level.scored, level.seconds)
        return found

    def eligible(self, user: EncodedUser, excluded: NDArray[np.int64]) -> Eligible | None:
        """Which ads may be returned to a user, None for all; `excluded` are item rows."""
        return self.targeting.eligible(user.targeting, excluded)

    def note_around(self, seconds: float) -> None:
        """Takes the time that a request spent outside of search and queue into account for `budget_ms`."""
        self._around.observe(seconds)

    def score_ads(self, query: Query, ad_ids: Sequence[str]) -> NDArray[np.float32]:
        """Scores of named ads (N,) float32 for the user of a query, whatever a search would make of them.

        Raises:
            FeatureError: an ad is not in the bundle, or a feature of the query is unfit.
        """
        if not ad_ids:
            return np.empty(0, np.float32)
        rows = look_up(self._content.encoder.item_ids, np.array([as_key(ad, "ad_id") for ad in ad_ids]))
        if (rows < 0).any():
            raise FeatureError("ad_id", f"ad {ad_ids[int(rows.argmin())]!r} is not in the bundle; name ads that are")
        tree = self._content.tree
        positions = tree.position_of_row[rows].astype(np.int64)
        logits = self.scorer.score(self.query(self.encode(query)), tree.depth, positions)
        scores: NDArray[np.float32] = logits @ query.task_weights
        return scores

    async def retrieve(self, query: Query, *, use_cache: bool = True, turn: Turn | None = None) -> Answer:
        """Answers one query; the search runs in a thread, so that the event loop stays free.

        Args:
            query: what to answer.
            use_cache: False neither reads nor writes the cache, if there is one.
            turn: the queue to go through, and the deadline; None goes through none.

        Raises:
            FeatureError: a feature, a context field or an id of the query is unfit.
            PredicateError: its targeting is malformed.
        """
        turn = turn or Turn()
        start = time.perf_counter()
        user = self.encode(query)
        tower_input = self.tower_input(user)
        encoded = time.perf_counter()
        cache = self._cache if use_cache else None
        if cache is None:
            lookup, asked = CacheLookup(None, "bypass"), encoded
            found = await self._take_turn(turn, query, user, tower_input, Flight(), None)
        else:
            key = tower_input.digest()
            with self._flights.join(key) as flight:  # before the cache is asked, so that no two can miss each other
                lookup = await cache.get(key, turn.answer_by)
                asked = time.perf_counter()
                found = await self._take_turn(turn, query, user, tower_input, flight, lookup.embedding)
                if found.computed:
                    cache.put(key, found.embedding)
        times = StageTimes(encoded - start, asked - encoded, found.began - asked, found.user_tower, found.search,
                           found.scorer)
        degraded = (*lookup.degraded, "deadline") if found.result.narrowed else lookup.degraded
        return Answer(found.ad_ids, found.result, user.kind, lookup.use, degraded, times, found.estimated_overlap,
                      found.paths, found.explanation)

    async def _take_turn(self, turn: Turn, query: Query, user: EncodedUser, tower_input: TowerInput,
                         flight: Flight[NDArray[np.float32]], cached: NDArray[np.float32] | None) -> _Found:
        find = partial(self._find, query, user, tower_input, flight, cached, turn)
        async with turn:
            return await asyncio.get_running_loop().run_in_executor(self._threads, turn.run, find)

    def beam_of(self, query: Query, eligible: Eligible | None) -> Beam:
        """The beam that a query asks for, and what the curve says of it, which knows of no targeting."""
        if query.exact:
            return Beam(self._curve.default.beam_width, 1.0)
        if query.beam_width is not None:
            return Beam(query.beam_width, None)
        if query.target_overlap is not None:
            return self._curve.for_overlap(query.target_overlap)
        if query.budget_ms is not None:
            affordable = self._search_time.pairs_within(query.budget_ms / 1000 - self._around.mean)
            return self._curve.for_pairs(affordable / widening(self._content.tree, eligible))
        return self._curve.default

    def _find(self, query: Query, user: EncodedUser, tower_input: TowerInput, flight: Flight[NDArray[np.float32]],
              cached: NDArray[np.float32] | None, turn: Turn) -> _Found:
        """All that a search thread does for one query."""
        began = time.perf_counter()
        embedding, computed = (cached, False) if cached is not None else flight.value(lambda: self.embed(tower_input))
        embedded = time.perf_counter()
        excluded = self.item_rows(query.exclude_ad_ids)
        eligible = self.eligible(user, excluded)
        beam = self.beam_of(query, eligible)
        options = SearchOptions(query.top_k, beam.beam_width, query.exact, query.task_weights, excluded)
        asked = self.query(user, embedding)
        trace = query.explain or query.explain_ad is not None
        result = self._search(asked, options, eligible, turn.search_by, trace)
        # A whole exhaustive search says nothing of what the next request will take.
        turn.coverage = 1.0 if query.exact else result.coverage
        ad_ids = [ad.decode() for ad in self._content.encoder.item_ids[result.rows].tolist()]
        ended = time.perf_counter()
        if result.pairs_scored and not query.exact:
            self._search_time.observe(result.pairs_scored, ended - embedded)
        explainer = Explainer(self._content.tree, result) if trace else None
        paths = explainer.paths(result.rows) if explainer is not None and query.explain else None
        explanation = None
        if explainer is not None and query.explain_ad is not None:
            explanation = self._explain(explainer, query.explain_ad, user, options.excluded)
        targeted = eligible is not None and eligible.bitmap is not None and not query.exact
        overlap = None if targeted else beam.overlap
        return _Found(result, ad_ids, embedding, computed, overlap, began, embedded - began, ended - embedded,
                      asked.kernel_seconds, paths, explanation)

    def _explain(self, explainer: Explainer, ad_id: str | int, user: EncodedUser,
                 excluded: NDArray[np.int64]) -> AdExplanation:
        key = as_key(ad_id, "ad_id")
        row = int(look_up(self._content.encoder.item_ids, np.array([key]))[0])
        refusal, gone = self.targeting.refusal(row, user.targeting), bool(np.isin(row, excluded))
        return AdExplanation(key.decode(), explainer.explain(row, refusal is None and not gone), refusal, gone)


def read_curve(opened: Bundle) -> BeamCurve:
    """The curve of a bundle; one without points where nobody measured it.

    Raises:
        BundleError: evaluation.json has something else in its place.
    """
    evaluation = opened.files.json(layout.EVALUATION)
    entries = evaluation.get("beam_curve", []) if isinstance(evaluation, dict) else []
    try:
        return BeamCurve.of(entries, opened.manifest.search.beam_width,
                            [level.nodes for level in opened.manifest.levels[:-1]])
    except (KeyError, TypeError, ValueError) as error:
        raise opened.files.error(layout.EVALUATION, f"has a beam_curve that is none ({error!r})") from error


def _replaced(encoder: FeatureEncoder, stored: Features, given: Mapping[str, Any]) -> Features:
    """`stored` with the fields named by `given` replaced by their encoded values."""
    spec, fresh = encoder.spec, encoder.encode_user(given)
    multi = zip(spec.fields("user", "multi"), fresh.multi, stored.multi, strict=True)
    return Features(np.where(_named(spec, "dense", given), fresh.dense, stored.dense),
                    np.where(_named(spec, "categorical", given), fresh.categorical, stored.categorical),
                    tuple(new if name in given else old for name, new, old in multi))


def _named(spec: FeatureSpec, kind: Literal["dense", "categorical"], given: Mapping[str, Any]) -> NDArray[np.bool_]:
    return np.array([name in given for name in spec.fields("user", kind)], bool)
