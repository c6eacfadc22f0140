"""Quality and latency of several searches, with the same users and scorer, on one thread, in one run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import faiss
import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import Bundle
from index_store.search.ranking import first_task_weights
from index_store.targeting.eligibility import Eligible
from loadtest.rivals.queries import QuerySet, encoded
from loadtest.rivals.searches import PairCounter, PrecomputedScores, Search, SearchRequest
from loadtest.rivals.two_tower import TwoTower
from model.progress.bars import Bar
from service.contract.query import EncodedUser
from service.retrieval.retriever import Retriever

WARM_UP = 5
"""Users whose searches run once before any is timed."""


@dataclass
class Comparison:
    """Searches over one bundle on one set of queries.

    Attributes:
        opened: the bundle that scores.
        towers: for searches that need a query vector.
        query_set: the users.
    """

    opened: Bundle
    towers: TwoTower | None
    query_set: QuerySet
    retriever: Retriever = field(init=False)
    weights: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        faiss.omp_set_num_threads(1)
        self.retriever = Retriever(self.opened)
        self.weights = first_task_weights(len(self.opened.manifest.tasks))

    def quality(self, searches: Sequence[Search]) -> list[dict[str, float]]:
        """Mean overlap, recall and pairs of each search; the first is exhaustive, the reference of the overlap."""
        tree, sums = self.opened.content.tree, np.zeros((len(searches), 4))
        for q in Bar(range(len(self.query_set)), desc="quality", unit="user"):
            user, targets = encoded(self.opened, self.query_set.users[q]), self.query_set.targets.row(q)
            request = self._request(user, q, wants_vector=self.towers is not None)
            precomputed = PrecomputedScores.of(self.retriever.scorer, request.query, tree)
            truth: NDArray[np.int64] = np.empty(0, np.int64)
            for c, search in enumerate(searches):
                counter = PairCounter(tree, precomputed)
                rows = search.find(request, counter)
                truth = rows if c == 0 else truth
                overlap = np.isin(truth, rows).mean() if len(truth) else 1.0
                sums[c] += [overlap, np.isin(targets, rows[:20]).mean(), np.isin(targets, rows).mean(), counter.pairs]
        return [dict(zip(("overlap@100", "recall@20", "recall@100", "pairs"), map(float, means), strict=True))
                for means in sums / len(self.query_set)]

    def latency(self, searches: Sequence[Search], queries: int, seed: int) -> list[dict[str, float]]:
        """Milliseconds of each search: median and 95th percentile, and the medians of its parts."""
        random = np.random.default_rng([seed, 1])
        taken = np.zeros((min(queries, len(self.query_set)), len(searches), 3))
        order = [*range(min(WARM_UP, len(taken))), *range(len(taken))]
        for q in Bar(order, desc="latency", unit="user"):
            user = encoded(self.opened, self.query_set.users[q])
            for c in random.permutation(len(searches)):
                taken[q, c] = self._timed(searches[c], user, q)  # overwrites the warm-up
        p95 = np.quantile(taken[..., 0], 0.95, axis=0) * 1e3
        return [{"p50_ms": p50, "p95_ms": float(late), "search_ms": search, "kernel_ms": kernel}
                for (p50, search, kernel), late in zip((np.median(taken, axis=0) * 1e3).tolist(), p95, strict=True)]

    def _timed(self, search: Search, user: EncodedUser, q: int) -> tuple[float, float, float]:
        """Seconds from an encoded user to the top ads, those of the search alone, and those in the dense layers."""
        start = time.perf_counter()
        request = self._request(user, q, search.wants_vector)
        began = time.perf_counter()
        search.find(request, self.retriever.scorer)
        ended = time.perf_counter()
        return ended - start, ended - began, request.query.kernel_seconds

    def _request(self, user: EncodedUser, q: int, wants_vector: bool) -> SearchRequest:
        tree = self.opened.content.tree
        vector = self.towers.query(user) if self.towers is not None and wants_vector else None
        eligible = Eligible.of(tree.n_items, excluded=tree.position_of_row[self.query_set.seen.row(q)])
        return SearchRequest(self.retriever.query(user), vector, eligible, self.weights)
