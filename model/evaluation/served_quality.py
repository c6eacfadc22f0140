"""What a run finds once it is exported and served through its beam, and what that costs.

The cost of all searches is in one unit: pairs scored times the arithmetic of the graph that scores them.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.graphs import scorer_inputs
from index_store.search.beam_search import BeamSearch
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.ranking import SearchResult, first_task_weights
from index_store.search.scoring import UserQuery
from index_store.targeting.eligibility import Eligible
from model.evaluation.quality import Asked
from model.export.flops import count
from model.export.golden import user_input
from model.export.onnx_graphs import onnx_layers, onnx_user_tower

TOP_K = 100
EXHAUSTIVE_USERS = 300
"""Users who are asked exhaustively too, for overlap and time."""


def served_quality(folder: Path, asked: Asked) -> dict[str, Any]:
    """Asks an exported run for what its users clicked later.

    Args:
        folder: the bundle.
        asked: users by their row, who are those of the bundle.

    Returns:
        `beam_width`; `beam` and `exhaustive`, each with `users`, `recall@20`, `recall@100`, `pairs` (mean a level),
        `flops` (mean a query) and `ms` (median of a search on one of as many threads as there are cores); for the beam
        also `overlap@100` with the exhaustive search of EXHAUSTIVE_USERS.
    """
    opened = Bundle.open(folder)
    content = opened.content
    tower = onnx_user_tower(opened.files.path(layout.USER_TOWER))
    scorer = content.scorer([onnx_layers(opened.files.path(name)) for name in opened.manifest.scorers])
    beam, exhaustive = BeamSearch(content.tree, scorer), ExhaustiveSearch(content.tree, scorer)
    width, weights = opened.manifest.search.beam_width, first_task_weights(len(content.encoder.spec.tasks))

    def question(place: int) -> tuple[UserQuery, Eligible]:
        row = int(asked.users[place])
        features, history = content.users.features.take(np.array([row])), content.users.history.row(row)
        query = content.query(tower(user_input(content, features, history)), features, history)
        return query, Eligible.of(content.tree.n_items, None, content.tree.position_of_row[asked.masked.row(place)])

    def by_beam(place: int) -> tuple[SearchResult, float]:
        query, eligible = question(place)
        start = time.perf_counter()
        found = beam.search(query, top_k=TOP_K, beam_width=width, task_weights=weights, eligible=eligible)
        return found, time.perf_counter() - start

    def exactly(place: int) -> tuple[SearchResult, float]:
        query, eligible = question(place)
        start = time.perf_counter()
        return exhaustive.search(query, top_k=TOP_K, task_weights=weights,
                                 eligible=eligible), time.perf_counter() - start

    n, some, flops = len(asked.users), min(EXHAUSTIVE_USERS, len(asked.users)), flops_per_pair(opened)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        beams = list(tqdm(pool.map(by_beam, range(n)), total=n, desc="beam", unit="user", leave=False))
        exact = list(tqdm(pool.map(exactly, range(some)), total=some, desc="exhaustive", unit="user", leave=False))
    overlap = [found.overlap(truth) for (found, _), (truth, _) in zip(beams, exact, strict=False)]
    return {"beam_width": list(width), "flops_per_pair": flops,
            "beam": _summary(beams, asked, flops) | {"overlap@100": float(np.mean(overlap))},
            "exhaustive": _summary(exact, asked, flops)}


def flops_per_pair(opened: Bundle) -> list[float]:
    """Floating-point operations a pair at each level of a bundle, coarse to fine: of the graph that scores it."""
    dims, dtype = opened.manifest.dims, opened.content.embeddings[-1].dtype

    def work(scorer: str, width: int, pairs: int) -> int:
        inputs = scorer_inputs(np.zeros((1, dims["user_embedding"]), np.float32), np.zeros((pairs, width), dtype),
                               np.zeros((pairs, dims["interaction"]), np.float32))
        return count(opened.files.path(scorer), inputs).flops

    widths = {level.scorer: level.width for level in opened.manifest.levels}
    flops = {scorer: (work(scorer, width, 128) - work(scorer, width, 64)) / 64 for scorer, width in widths.items()}
    return [flops[level.scorer] for level in opened.manifest.levels]


def _summary(found: list[tuple[SearchResult, float]], asked: Asked, flops: list[float]) -> dict[str, Any]:
    """Recall and mean cost of the searches of the first users."""
    pairs: dict[int, float] = defaultdict(float)
    for result, _ in found:
        for level in result.levels:
            pairs[level.level] += level.scored / len(found)
    by_level = [pairs[level] for level in range(1, len(flops) + 1)]
    return {"users": len(found), **{f"recall@{k}": _recall([result.rows[:k] for result, _ in found], asked)
                                    for k in (20, TOP_K)},
            "pairs": by_level, "flops": float(np.dot(by_level, flops)),
            "ms": float(np.median([seconds for _, seconds in found]) * 1000)}


def _recall(rows: list[NDArray[np.int64]], asked: Asked) -> float:
    return float(np.mean([np.isin(asked.targets.row(place), own).mean() for place, own in enumerate(rows)]))
