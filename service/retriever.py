"""From a user to the best ads: features -> user tower or cache -> interaction keys -> search. Knows no HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from index_store.features import FeatureEncoder, Features, FeatureSpec, as_key, look_up
from index_store.inputs import pool, user_bags
from index_store.ragged import Ragged
from index_store.scoring import TowerScorer, UserQuery, query_keys
from index_store.search import BeamSearch, ExhaustiveSearch, SearchResult
from index_store.store import Bundle
from service.onnx_towers import OnnxTowers

UserKind = Literal["known", "inline", "unknown"]
CacheUse = Literal["local", "redis", "miss", "bypass"]


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        beam_width: nodes to keep, one number a level above the items.
        exact: score every item instead.
        task_weights: (tasks,) float32.
        excluded: item rows that must not be returned.
    """

    top_k: int
    beam_width: tuple[int, ...]
    exact: bool
    task_weights: NDArray[np.float32]
    excluded: NDArray[np.int64]


@dataclass(frozen=True)
class Query:
    """A request that was checked against the bundle; only its features and excluded ids are still raw."""

    user_id: bytes
    user_features: Mapping[str, Any] | None
    exclude_ad_ids: Sequence[str | int]
    top_k: int
    beam_width: tuple[int, ...]
    exact: bool
    task_weights: NDArray[np.float32]


@dataclass(frozen=True)
class EncodedUser:
    """A user as the towers read it: features of one row, history (M,) int32 of item rows, most recent first."""

    features: Features
    history: NDArray[np.int32]
    kind: UserKind = "known"


@dataclass(frozen=True)
class TowerInput:
    """Inputs of the user tower before pooling: dense (1, dense fields) float32 and one bag of ids a table."""

    dense: NDArray[np.float32]
    bags: Mapping[str, Ragged]

    def digest(self) -> bytes:
        """Hash of all that the embedding depends on, but for the tower itself: 16 bytes, the same on all machines."""
        found = hashlib.blake2b(self.dense.astype("<f4", copy=False).tobytes(), digest_size=16)
        for bag in self.bags.values():
            found.update(len(bag.values).to_bytes(4, "little"))
            found.update(bag.values.astype("<i4", copy=False).tobytes())
        return found.digest()


@dataclass(frozen=True)
class StageTimes:
    """Seconds that each stage of one request took; the levels' are in its SearchResult."""

    features: float
    cache: float
    queue: float
    user_tower: float
    search: float


@dataclass(frozen=True)
class Answer:
    """The ads of one request and how they were found; ads, scores (K,) and logits (K, tasks) best first."""

    ad_ids: list[str]
    found: SearchResult
    user: UserKind
    user_cache: CacheUse
    degraded: tuple[str, ...]
    times: StageTimes


@dataclass(frozen=True)
class CacheLookup:
    """What the cache knew: the embedding (1, Du) float32 or None, where it was, and which levels failed."""

    embedding: NDArray[np.float32] | None
    use: CacheUse
    degraded: tuple[str, ...] = ()


class EmbeddingCache(Protocol):
    """Embeddings of the user tower by the digest of its input."""

    async def get(self, key: bytes) -> CacheLookup: ...

    def put(self, key: bytes, embedding: NDArray[np.float32]) -> None: ...


@dataclass(frozen=True)
class _Found:
    result: SearchResult
    ad_ids: list[str]
    embedding: NDArray[np.float32]
    began: float
    user_tower: float
    search: float


class Retriever:
    """Answers queries from one bundle.

    Args:
        opened: the bundle.
        cache: for embeddings of the user tower; None computes each anew.
        search_threads: searches at the same time.
        onnx_threads: threads of one scorer call.

    Raises:
        BundleError: an ONNX graph is broken.
    """

    def __init__(self, opened: Bundle, *, cache: EmbeddingCache | None = None, search_threads: int = 1,
                 onnx_threads: int = 1) -> None:
        content = opened.content
        self.bundle = opened
        self._content, self._spec, self._cache = content, content.encoder.spec, cache
        self._towers = OnnxTowers(opened, onnx_threads)
        self.scorer = TowerScorer(self._towers.dense_layers, content.embeddings, content.postings, content.families,
                                  content.tree.rows)
        self._beam = BeamSearch(content.tree, self.scorer)
        self._exhaustive = ExhaustiveSearch(content.tree, self.scorer)
        self._stranger = content.encoder.encode_user({})
        self._threads = ThreadPoolExecutor(search_threads, "search")

    def close(self) -> None:
        """Waits for running searches."""
        self._threads.shutdown()

    def encode(self, query: Query) -> EncodedUser:
        """The user's features: those of the bundle's user table, replaced field by field by those of the query.

        Raises:
            FeatureError: a feature of the query is unknown or unfit.
        """
        users, encoder = self._content.users, self._content.encoder
        row = users.row(query.user_id)
        if row >= 0:
            features, history = users.features.take(np.array([row])), users.history.row(row)
        else:
            features, history = self._stranger, np.empty(0, np.int32)
        if not query.user_features:
            return EncodedUser(features, history, "known" if row >= 0 else "unknown")
        given = {name: value for name, value in query.user_features.items() if name != "history"}
        if "history" in query.user_features:
            history = encoder.encode_history(query.user_features["history"])
        return EncodedUser(_replaced(encoder, features, given), history, "inline")

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
        history = Ragged(np.array([0, len(user.history)], np.int64), user.history)
        return TowerInput(user.features.dense,
                          user_bags(self._spec, user.features, history, self._content.item_keys))

    def embed(self, tower_input: TowerInput) -> NDArray[np.float32]:
        """User embedding (1, Du) float32."""
        return self._towers.user_tower(pool(self._content.tables, tower_input.dense, tower_input.bags))

    def query(self, user: EncodedUser, embedding: NDArray[np.float32] | None = None) -> UserQuery:
        """What the scorer reads of an encoded user; without an embedding the user tower runs."""
        if embedding is None:
            embedding = self.embed(self.tower_input(user))
        return UserQuery(embedding, query_keys(self._content.families, user.history, self._spec.history_ordered))

    def search(self, user: EncodedUser, options: SearchOptions,
               embedding: NDArray[np.float32] | None = None) -> SearchResult:
        """The best items of an encoded user, in this thread and without the cache."""
        query = self.query(user, embedding)
        if options.exact:
            return self._exhaustive.search(query, top_k=options.top_k, task_weights=options.task_weights,
                                           excluded=options.excluded)
        return self._beam.search(query, top_k=options.top_k, beam_width=options.beam_width,
                                 task_weights=options.task_weights, excluded=options.excluded)

    async def retrieve(self, query: Query, *, use_cache: bool = True) -> Answer:
        """Answers one query; the search runs in a thread, so that the event loop stays free.

        Args:
            query: what to answer.
            use_cache: False neither reads nor writes the cache, if there is one.

        Raises:
            FeatureError: a feature or an id of the query is unfit.
        """
        start = time.perf_counter()
        user, options = self.encode(query), self._options(query)
        tower_input = self.tower_input(user)
        encoded = time.perf_counter()
        cache = self._cache if use_cache else None
        key = tower_input.digest() if cache is not None else b""
        lookup = await cache.get(key) if cache is not None else CacheLookup(None, "bypass")
        asked = time.perf_counter()
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._find, user, options, tower_input, lookup.embedding)
        if cache is not None and lookup.embedding is None:
            cache.put(key, found.embedding)
        times = StageTimes(encoded - start, asked - encoded, found.began - asked, found.user_tower, found.search)
        return Answer(found.ad_ids, found.result, user.kind, lookup.use, lookup.degraded, times)

    def _options(self, query: Query) -> SearchOptions:
        return SearchOptions(query.top_k, query.beam_width, query.exact, query.task_weights,
                             self.item_rows(query.exclude_ad_ids))

    def _find(self, user: EncodedUser, options: SearchOptions, tower_input: TowerInput,
              embedding: NDArray[np.float32] | None) -> _Found:
        began = time.perf_counter()
        if embedding is None:
            embedding = self.embed(tower_input)
        embedded = time.perf_counter()
        result = self.search(user, options, embedding)
        ad_ids = [ad.decode() for ad in self._content.encoder.item_ids[result.rows].tolist()]
        return _Found(result, ad_ids, embedding, began, embedded - began, time.perf_counter() - embedded)


def _replaced(encoder: FeatureEncoder, stored: Features, given: Mapping[str, Any]) -> Features:
    """`stored` with the fields named by `given` replaced by their encoded values."""
    spec, fresh = encoder.spec, encoder.encode_user(given)
    multi = zip(spec.fields("user", "multi"), fresh.multi, stored.multi, strict=True)
    return Features(np.where(_named(spec, "dense", given), fresh.dense, stored.dense),
                    np.where(_named(spec, "categorical", given), fresh.categorical, stored.categorical),
                    tuple(new if name in given else old for name, new, old in multi))


def _named(spec: FeatureSpec, kind: Literal["dense", "categorical"], given: Mapping[str, Any]) -> NDArray[np.bool_]:
    return np.array([name in given for name in spec.fields("user", kind)], bool)
