"""Beam tuning: chooses the widths of each level on some users and measures their overlap on others.

All nodes and items are scored once for each user of a sample; after that a beam costs no scoring, so many can be
tried. The oracle scores a node by its best member's true score, which shows the limit that the tree itself sets.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import BundleContent
from index_store.search.beam_curve import BeamPoint
from index_store.search.beam_search import BeamSearch
from index_store.search.ranking import best, first_task_weights
from index_store.search.scoring import DenseLayers, TowerScorer
from index_store.targeting.eligibility import Eligible
from index_store.tree.tree import Tree
from index_store.value.live_bids import LiveBids
from index_store.value.valuation import Valuation
from model.export.golden import user_input
from model.progress.bars import Bar
from model.progress.ranges import ranges_of

TOP_K = 100
TARGET_OVERLAP = 0.95
ENOUGH_OVERLAP = 0.995
"""Overlap at which the curve ends."""

EXHAUSTIVE_PAIRS = 200_000_000
FEWEST_USERS, MOST_USERS = 100, 750
"""Size of the sample: as many users as EXHAUSTIVE_PAIRS allow within these bounds."""

CHOOSING = 1 / 3
"""Share of the sample by which beams are widened. The others measure them, which needs more of them."""

FIRST_WIDTH = 4
STEP = 1.3
"""Factor by which one level is widened at a time."""

MOST_SHARE = 0.5
"""A beam that takes this share of the exhaustive search's pairs is not worth widening."""


UserTower = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class ScoredUser:
    """The scores of a user, as a NodeScorer that looks them up.

    Attributes:
        scores: one (nodes,) float32 a level above the items, or (nodes, tasks) logits.
        oracle: likewise, each node's score that of its best eligible item.
        truth: positions of the exhaustive answer.
        eligible: all but the user's own history.
        ensemble: of the scorer.
        weights: (tasks,) float32 of the logits.
    """

    scores: Sequence[NDArray[np.float32]]
    oracle: Sequence[NDArray[np.float32]]
    truth: NDArray[np.integer]
    eligible: Eligible
    ensemble: tuple[int, ...] = ()
    weights: NDArray[np.float32] = field(default_factory=lambda: np.ones(1, np.float32))

    def score(self, _: None, level: int, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
        if level > len(self.scores):
            return np.zeros((len(nodes), len(self.weights)), np.float32)  # every item that is reached is found
        return self.scores[level - 1].take(nodes, axis=0).reshape(len(nodes), -1)

    def by_oracle(self) -> ScoredUser:
        """This user with nodes scored by the oracle."""
        return replace(self, scores=self.oracle)


@dataclass(frozen=True)
class BeamTuning:
    """Measured curves by rising pairs, and the user rows that chose and measured them.

    Attributes:
        points: of searches by score.
        by_ecpm: of searches by eCPM; empty without bids or calibrations.
        users: the rows.
    """

    points: tuple[BeamPoint, ...]
    by_ecpm: tuple[BeamPoint, ...]
    users: tuple[int, ...]


def default_of(points: Sequence[BeamPoint]) -> BeamPoint:
    """The cheapest beam of a curve that reaches TARGET_OVERLAP, else the one that comes nearest."""
    reaching = [point for point in points if point.overlap >= TARGET_OVERLAP]
    return reaching[0] if reaching else max(points, key=lambda point: point.overlap)


def tune_beam(content: BundleContent, tower: UserTower, layers: Sequence[DenseLayers], seed: int) -> BeamTuning:
    """Widens a narrow beam level by level where it gains most overlap a pair, and measures the beams on the way.

    Args:
        content: what is to be exported.
        tower: user tower, (N, D_in) -> (N, Du).
        layers: the exported scorers.
        seed: of the sample of users.
    """
    users = sample_users(content, seed)
    points = beam_curve(content.tree, score_users(content, tower, layers, users))
    by_ecpm: tuple[BeamPoint, ...] = ()
    if content.bids is not None and content.calibrations is not None:
        valuation = Valuation(content.calibrations, content.encoder.spec.paid,
                              LiveBids.sealed(content.tree, content.bids))
        by_ecpm = beam_curve(content.tree, score_users(content, tower, layers, users, valuation), valuation)
    return BeamTuning(points, by_ecpm, tuple(int(row) for row in users))


def sample_users(content: BundleContent, seed: int) -> NDArray[np.int64]:
    """User rows of the sample."""
    most = int(np.clip(EXHAUSTIVE_PAIRS // content.tree.n_items, FEWEST_USERS, MOST_USERS))
    return np.random.default_rng([seed, 7]).permutation(len(content.users.ids))[:most]


def score_users(content: BundleContent, tower: UserTower, layers: Sequence[DenseLayers],
                users: NDArray[np.integer], valuation: Valuation | None = None) -> list[ScoredUser]:
    """Scores all nodes and items for the given user rows, in parallel; ranks by eCPM if there is a valuation."""
    scorer = content.scorer(layers)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(Bar(pool.map(lambda row: _scored(content, tower, scorer, int(row), valuation), users),
                         total=len(users), desc="exhaustive", unit="user", leave=False))


def beam_curve(tree: Tree, users: Sequence[ScoredUser], valuation: Valuation | None = None) -> tuple[BeamPoint, ...]:
    """Beams widened by a share CHOOSING of the users and measured by the others, by rising pairs and overlap."""
    choosing = math.ceil(CHOOSING * len(users))
    beams = Bar(_widening_beams(tree, users[:choosing], valuation), desc="measuring beams", unit="beam", leave=False)
    # With a single user there are no others to measure with.
    measured = [_measure(tree, users[choosing:] or users, widths, valuation) for widths in beams]
    points: list[BeamPoint] = []
    for point in sorted(measured, key=lambda point: point.pairs):
        if not points or point.overlap > points[-1].overlap:
            points.append(point)
    return tuple(points)


def _scored(content: BundleContent, tower: UserTower, scorer: TowerScorer, row: int,
            valuation: Valuation | None) -> ScoredUser:
    tree, users = content.tree, content.users
    features, history = users.features.take(np.array([row])), users.history.row(row)
    query = content.query(tower(user_input(content, features, history)), features, history)
    weights = first_task_weights(len(content.encoder.spec.tasks))
    eligible = Eligible.of(tree.n_items, None, tree.position_of_row[history])
    # Range by range, since a call for ten million ads needs gigabytes beside its result.
    logits = [np.concatenate([scorer.score(query, level, np.arange(own.first, own.end))
                              for own in ranges_of(tree.size(level))]) for level in range(1, tree.depth + 1)]
    items = logits[-1] @ weights
    if valuation is not None:
        worth = valuation.of_items(np.arange(tree.n_items), logits[-1], items)
        worth[tree.position_of_row[history]] = -np.inf
        truth = best(worth, tree.rows.astype(np.int64), min(TOP_K, eligible.total))
        return ScoredUser(logits[:-1], (), truth, eligible, scorer.ensemble, weights)
    items[tree.position_of_row[history]] = -np.inf
    truth = best(items, tree.rows.astype(np.int64), min(TOP_K, eligible.total))
    oracle = [np.maximum.reduceat(items, offsets[:-1]) for offsets in tree.offsets]
    return ScoredUser([of_level @ weights for of_level in logits[:-1]], oracle, truth, eligible, scorer.ensemble)


def _widening_beams(tree: Tree, users: Sequence[ScoredUser], valuation: Valuation | None) -> list[tuple[int, ...]]:
    """Beams from narrow to wide; each step widens the one level that gains most overlap a pair."""
    sizes = [tree.size(level) for level in range(1, tree.depth)]
    # A search goes on until it has TOP_K items: a level too narrow for that gains nothing by the first steps wider.
    widths = tuple(min(size, max(FIRST_WIDTH, -(-TOP_K * size // tree.n_items))) for size in sizes)
    now = _measure(tree, users, widths, valuation)
    path = [widths]
    with Bar(total=ENOUGH_OVERLAP, desc="tuning beams", unit="overlap", leave=False,
              bar_format="{desc}: {n:.3f} of {total} overlap [{elapsed}]") as bar:
        bar.update(now.overlap)
        while now.overlap < ENOUGH_OVERLAP and now.pairs < MOST_SHARE * tree.n_items:
            wider = tuple(min(size, max(w + 1, round(w * STEP))) for w, size in zip(widths, sizes, strict=True))
            if wider == widths:
                break
            tried = [_measure(tree, users, (*widths[:level], wider[level], *widths[level + 1:]), valuation)
                     for level in range(len(sizes)) if wider[level] > widths[level]]
            gained = max(tried, key=lambda point: (point.overlap - now.overlap) / max(point.pairs - now.pairs, 1.0))
            if gained.overlap <= now.overlap:  # no level gains alone
                gained = _measure(tree, users, wider, valuation)
            bar.update(gained.overlap - now.overlap)
            widths, now = gained.beam_width, gained
            path.append(widths)
    return path


def _measure(tree: Tree, users: Sequence[ScoredUser], widths: tuple[int, ...],
             valuation: Valuation | None) -> BeamPoint:
    kept, pairs = [], []
    for user in users:
        found = BeamSearch(tree, user).search(None, top_k=TOP_K, beam_width=widths, eligible=user.eligible, trace=True,
                                              task_weights=user.weights, valuation=valuation)
        reached = np.zeros(tree.n_items, np.bool_)
        reached[found.steps[-1].nodes] = True
        kept.append(reached[user.truth].mean() if len(user.truth) else 1.0)
        pairs.append(found.pairs_scored)
    return BeamPoint(widths, float(np.mean(kept)), float(np.mean(pairs)))
