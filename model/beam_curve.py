"""How much of the exhaustive answer a beam keeps: measured at export on sampled users, to choose the default width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from index_store.scoring import DenseLayers, UserQuery, query_keys
from index_store.search import BeamSearch, ExhaustiveSearch
from index_store.store import BundleContent
from model.golden import first_task, scorer_of, user_input

USERS = 200
TOP_K = 100
TARGET_OVERLAP = 0.95
WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


@dataclass(frozen=True)
class BeamPoint:
    """One width: mean overlap@100 with the exhaustive search, and mean pairs scored a query."""

    beam_width: int
    overlap: float
    pairs: float


def beam_curve(content: BundleContent, tower: Callable[[NDArray[np.float32]], NDArray[np.float32]],
               layers: DenseLayers, seed: int) -> list[BeamPoint]:
    """Measures widths from narrow to wide until the overlap passes TARGET_OVERLAP or the beam covers the tree."""
    scorer = scorer_of(content, layers)
    sampled = np.random.default_rng([seed, 7]).permutation(len(content.users.ids))[:USERS]
    queries, truths = [], []
    exhaustive = ExhaustiveSearch(content.tree, scorer)
    weights = first_task(content)
    for row in tqdm(sampled, desc="exhaustive", unit="user", leave=False):
        history = content.users.history.row(row)
        embedding = tower(user_input(content, content.users.features.take(np.array([row])), history))
        query = UserQuery(embedding, query_keys(content.families, history, content.encoder.spec.history_ordered))
        queries.append(query)
        truths.append(exhaustive.search(query, top_k=TOP_K, task_weights=weights, excluded=history).rows)
    beam = BeamSearch(content.tree, scorer)
    curve: list[BeamPoint] = []
    for width in WIDTHS:
        overlaps, pairs = [], []
        for row, query, truth in zip(sampled, queries, truths, strict=True):
            found = beam.search(query, top_k=TOP_K, beam_width=width, task_weights=weights,
                                excluded=content.users.history.row(row))
            overlaps.append(np.isin(truth, found.rows).mean() if len(truth) else 1.0)
            pairs.append(found.pairs_scored)
        curve.append(BeamPoint(width, float(np.mean(overlaps)), float(np.mean(pairs))))
        if curve[-1].overlap >= TARGET_OVERLAP or width >= content.tree.size(content.tree.depth - 1):
            break
    return curve


def cheapest(curve: Sequence[BeamPoint]) -> BeamPoint:
    """The narrowest width that reaches TARGET_OVERLAP, else the one that comes nearest."""
    reaching = [point for point in curve if point.overlap >= TARGET_OVERLAP]
    return reaching[0] if reaching else max(curve, key=lambda point: point.overlap)
