"""Recall and cost of an exported run, through its beam and by exhaustive search.

Cost is counted as for all searches: pairs scored times the operations per pair of the graph that scores them.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.graphs import scorer_inputs
from index_store.search.beam_search import BeamSearch
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.ranking import SearchResult, first_task_weights
from index_store.search.scoring import UserQuery
from index_store.targeting.eligibility import Eligible
from model.config.errors import ConfigError
from model.data.recall_queries import RecallQueries
from model.export.flops import count
from model.export.golden import user_input
from model.export.onnx_graphs import bundle_layers, onnx_user_tower
from model.progress.bars import Bar
from model.progress.lines import tell
from model.runs.run import Run

TOP_K = 100
EXHAUSTIVE_USERS = 300
"""Users who are asked exhaustively too, for overlap and time."""


def served_quality(folder: Path, queries: RecallQueries) -> dict[str, Any]:
    """Recall and cost of an exported run, on what its users clicked later.

    Args:
        folder: the bundle.
        queries: of users by their row, who are those of the bundle.

    Returns:
        `beam_width`; `beam` and `exhaustive`, each with `users`, `recall@20`, `recall@100`, `ndcg@20`, `pairs` (mean a
        level), `flops` (mean a query) and `ms` (median of a search on one of as many threads as there are cores); for
        the beam also `overlap@100` with the exhaustive search of EXHAUSTIVE_USERS. Without users the means are None.
    """
    searches, n = _Searches(Bundle.open(folder), queries), len(queries.users)
    some, flops = min(EXHAUSTIVE_USERS, n), flops_per_pair(searches.opened)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        beams = list(Bar(pool.map(searches.by_beam, range(n)), total=n, desc="beam", unit="user", leave=False))
        exact = list(Bar(pool.map(searches.exactly, range(some)), total=some, desc="exhaustive", unit="user",
                          leave=False))
    overlap = [found.overlap(truth) for (found, _), (truth, _) in zip(beams, exact, strict=False)]
    return {"beam_width": list(searches.width), "flops_per_pair": flops,
            "beam": _summary(beams, queries, flops) | {"overlap@100": float(np.mean(overlap)) if overlap else None},
            "exhaustive": _summary(exact, queries, flops)}


def as_served(run: Run, folder: Path, users: int) -> dict[str, Any]:
    """`served_quality` of a bundle that the run was exported to, on the run's test users; tells what the beam finds.

    Args:
        run: with test events.
        folder: the bundle.
        users: test users to ask, 0 = all: those whom `quality` asks.

    Raises:
        ConfigError: the bundle is of other data, or there are no test events.
    """
    data, test = run.dataset, run.dataset.test
    if test is None or not len(test.users):
        raise ConfigError(f"{run.data} has no test events, so there is nothing to ask {folder} about; leave out "
                          "--bundle")
    known = Bundle.open(folder).content.users.ids
    if not np.array_equal(known, data.user_ids):
        raise ConfigError(f"the {len(known):,} users of {folder} are not the {len(data.user_ids):,} of the run "
                          f"{run.folder.path}; name a bundle that was exported from this run")
    queries = RecallQueries.draw(data.train, test, len(data.user_ids), users, run.config.seed)
    found = served_quality(folder, queries)
    if len(queries.users):
        beam = found["beam"]
        tell(f"through the beam of {folder} ({', '.join(map(str, found['beam_width']))} nodes): Recall@20 "
             f"{beam['recall@20']:.4f}, Recall@100 {beam['recall@100']:.4f}, overlap@100 with the exhaustive search "
             f"{beam['overlap@100']:.3f} at {sum(beam['pairs']):,.0f} pairs")
    return found


class _Searches:
    """The beam of a bundle and its exhaustive search, each timed without the user tower.

    Args:
        opened: the bundle.
        queries: asked by their place.
    """

    def __init__(self, opened: Bundle, queries: RecallQueries) -> None:
        self.opened, self._queries, self._content = opened, queries, opened.content
        self._tower = onnx_user_tower(opened.files.path(layout.USER_TOWER))
        scorer = opened.content.scorer(bundle_layers(opened.files))
        self._beam = BeamSearch(opened.content.tree, scorer)
        self._exhaustive = ExhaustiveSearch(opened.content.tree, scorer)
        self.width = opened.manifest.search.beam_width
        self._weights = first_task_weights(len(opened.manifest.tasks))

    def by_beam(self, place: int) -> tuple[SearchResult, float]:
        """The beam's answer and its seconds."""
        query, eligible = self._query(place)
        start = time.perf_counter()
        found = self._beam.search(query, top_k=TOP_K, beam_width=self.width, task_weights=self._weights,
                                  eligible=eligible)
        return found, time.perf_counter() - start

    def exactly(self, place: int) -> tuple[SearchResult, float]:
        """The exhaustive answer and its seconds."""
        query, eligible = self._query(place)
        start = time.perf_counter()
        found = self._exhaustive.search(query, top_k=TOP_K, task_weights=self._weights, eligible=eligible)
        return found, time.perf_counter() - start

    def _query(self, place: int) -> tuple[UserQuery, Eligible]:
        content, row = self._content, int(self._queries.users[place])
        features, history = content.users.features.take(np.array([row])), content.users.history.row(row)
        query = content.query(self._tower(user_input(content, features, history)), features, history)
        masked = content.tree.position_of_row[self._queries.masked.row(place)]
        return query, Eligible.of(content.tree.n_items, None, masked)


def flops_per_pair(opened: Bundle) -> list[float]:
    """Floating-point operations per pair at each level of a bundle, coarse to fine, by the graph that scores it."""
    dims, dtype = opened.manifest.dims, opened.content.embeddings[-1].dtype

    def work(scorer: str, width: int, pairs: int) -> int:
        inputs = scorer_inputs(np.zeros((1, dims["user_embedding"]), np.float32), np.zeros((pairs, width), dtype),
                               np.zeros((pairs, dims["interaction"]), np.float32))
        return count(opened.files.path(scorer), inputs).flops

    widths = {level.scorer: level.width for level in opened.manifest.levels}
    flops = {scorer: (work(scorer, width, 128) - work(scorer, width, 64)) / 64 for scorer, width in widths.items()}
    return [flops[level.scorer] for level in opened.manifest.levels]


def _summary(found: list[tuple[SearchResult, float]], queries: RecallQueries, flops: list[float]) -> dict[str, Any]:
    """Recall, NDCG and mean cost of the searches of the first users."""
    rows = [result.rows for result, _ in found]
    figures = {**{f"recall@{k}": queries.recall_of([own[:k] for own in rows]) for k in (20, TOP_K)},
               "ndcg@20": queries.ndcg_of(rows, 20)}
    if not found:
        return {"users": 0, **figures, "pairs": None, "flops": None, "ms": None}
    pairs: dict[int, float] = defaultdict(float)
    for result, _ in found:
        for level in result.levels:
            pairs[level.level] += level.scored / len(found)
    by_level = [pairs[level] for level in range(1, len(flops) + 1)]
    return {"users": len(found), **figures, "pairs": by_level, "flops": float(np.dot(by_level, flops)),
            "ms": float(np.median([seconds for _, seconds in found]) * 1000)}
