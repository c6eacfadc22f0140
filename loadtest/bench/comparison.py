"""Where searches meet: the same users, the same scorer, one thread, one run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import faiss
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from index_store.bundle.bundle import Bundle
from index_store.search.ranking import first_task_weights
from index_store.targeting.eligibility import Eligible
from loadtest.bench.queries import Questions, encoded
from loadtest.bench.searches import Asked, Contender, Meter, RecordedScores
from loadtest.bench.two_tower import TwoTower
from service.contract.query import EncodedUser
from service.retrieval.retriever import Retriever

WARM_UP = 5
"""Users whose searches are done once before any is timed."""


@dataclass
class Arena:
    """One bundle and one set of questions.

    Attributes:
        opened: the bundle that scores.
        towers: for contenders that want a vector.
        questions: what is asked.
    """

    opened: Bundle
    towers: TwoTower | None
    questions: Questions
    retriever: Retriever = field(init=False)
    weights: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        faiss.omp_set_num_threads(1)
        self.retriever = Retriever(self.opened)
        self.weights = first_task_weights(len(self.opened.manifest.tasks))

    def quality(self, contenders: Sequence[Contender]) -> list[dict[str, float]]:
        """Mean overlap, recall and pairs of each contender, the exhaustive search first among them."""
        tree, sums = self.opened.content.tree, np.zeros((len(contenders), 4))
        for q in tqdm(range(len(self.questions)), desc="quality", unit="user"):
            user, targets = encoded(self.opened, self.questions.users[q]), self.questions.targets.row(q)
            asked = self._asked(user, q, wants_vector=self.towers is not None)
            recorded = RecordedScores.of(self.retriever.scorer, asked.query, tree)
            truth: NDArray[np.int64] = np.empty(0, np.int64)
            for c, contender in enumerate(contenders):
                meter = Meter(tree, recorded)
                rows = contender.find(asked, meter)
                truth = rows if c == 0 else truth
                overlap = np.isin(truth, rows).mean() if len(truth) else 1.0
                sums[c] += [overlap, np.isin(targets, rows[:20]).mean(), np.isin(targets, rows).mean(), meter.pairs]
        return [dict(zip(("overlap@100", "recall@20", "recall@100", "pairs"), map(float, means), strict=True))
                for means in sums / len(self.questions)]

    def latency(self, contenders: Sequence[Contender], queries: int, seed: int) -> list[dict[str, float]]:
        """Each contender's milliseconds: median and 95th percentile, and the medians of its parts."""
        random = np.random.default_rng([seed, 1])
        taken = np.zeros((min(queries, len(self.questions)), len(contenders), 3))
        asked = [*range(min(WARM_UP, len(taken))), *range(len(taken))]
        for q in tqdm(asked, desc="latency", unit="user"):
            user = encoded(self.opened, self.questions.users[q])
            for c in random.permutation(len(contenders)):
                taken[q, c] = self._timed(contenders[c], user, q)  # warm-up is overwritten
        p95 = np.quantile(taken[..., 0], 0.95, axis=0) * 1e3
        return [{"p50_ms": p50, "p95_ms": float(late), "search_ms": search, "kernel_ms": kernel}
                for (p50, search, kernel), late in zip((np.median(taken, axis=0) * 1e3).tolist(), p95, strict=True)]

    def _timed(self, contender: Contender, user: EncodedUser, q: int) -> tuple[float, float, float]:
        """Seconds from an encoded user to the top ads; of them the search, and of it the calls of the dense layers."""
        start = time.perf_counter()
        asked = self._asked(user, q, contender.wants_vector)
        began = time.perf_counter()
        contender.find(asked, self.retriever.scorer)
        ended = time.perf_counter()
        return ended - start, ended - began, asked.query.kernel_seconds

    def _asked(self, user: EncodedUser, q: int, wants_vector: bool) -> Asked:
        tree = self.opened.content.tree
        vector = self.towers.query(user) if self.towers is not None and wants_vector else None
        eligible = Eligible.of(tree.n_items, excluded=tree.position_of_row[self.questions.seen.row(q)])
        return Asked(self.retriever.query(user), vector, eligible, self.weights)
