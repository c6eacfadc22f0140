"""A scorer that deals in small integers, so that many tie; random trees for it; a deadline with planted time."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from index_store.search.deadline import SearchCost
from index_store.targeting.eligibility import Eligible
from index_store.tree.tree import build_tree

WEIGHTS = np.array([1.0, 2.0], np.float32)


@dataclass
class FakeScorer:
    """Two tasks' logits for every node of every level, and a record of what was asked."""

    logits: list[np.ndarray]
    asked: dict[int, list[int]] = field(default_factory=dict)
    ensemble: tuple[int, ...] = ()

    def score(self, query, level, nodes):
        assert query == "query"
        asked = self.asked.setdefault(level, [])
        assert not set(asked) & set(nodes.tolist()), "a node was scored twice"
        assert not asked or level == len(self.logits), "only the items' level may be asked in parts"
        asked.extend(nodes.tolist())
        return self.logits[level - 1][nodes]


@st.composite
def worlds(draw):
    """A tree, a scorer over it, excluded rows (some twice) and top_k."""
    items, inner = draw(st.integers(1, 400)), draw(st.integers(0, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = random.integers(0, draw(st.integers(1, 5)), (items, inner))
    tree = build_tree(codes, random.normal(size=(items, 2)).astype(np.float32))
    logits = [random.integers(-2, 3, (tree.size(level), 2)).astype(np.float32) for level in range(1, tree.depth + 1)]
    excluded = random.integers(0, items, draw(st.integers(0, items)))
    return tree, logits, excluded, draw(st.integers(1, items + 3) | st.integers(1, 5))


def reference(tree, logits, excluded, top_k):
    """(score, row) of the best items, by sorting all of them."""
    scores = logits[-1] @ WEIGHTS
    allowed = [(-scores[at], row) for at, row in enumerate(tree.rows.tolist()) if row not in set(excluded.tolist())]
    return [(-score, row) for score, row in sorted(allowed)[:top_k]]


def allowed(tree, excluded):
    return Eligible.of(tree.n_items, None, tree.position_of_row[excluded])


def pairs(result):
    return list(zip(result.scores.tolist(), result.rows.tolist(), strict=True))


@dataclass
class PlantedTime:
    """A Deadline with the given seconds left, one a question, and the last one from then on; a pair takes a second."""

    seconds: list[float]
    cost: SearchCost = field(default_factory=lambda: SearchCost(1.0))

    def left(self):
        return self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]
