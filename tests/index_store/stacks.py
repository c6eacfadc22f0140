"""Stacks of layers without a network, over random trees: what an item's score must be is a sum over its ancestors."""

import numpy as np
from hypothesis import strategies as st

from index_store.features.postings import ItemKeys
from index_store.features.ragged import Ragged
from index_store.features.user_keys import KeyHits
from index_store.search.scoring import TowerScorer, UserQuery
from index_store.tree.tree import build_tree

ONE = np.ones(1, np.float32)


class Stack:
    """Layers that read a node's only number and multiply it by a factor of their own; counts what they are asked."""

    def __init__(self, tree, ensemble, random):
        self.tree, self.ensemble = tree, ensemble
        self.numbers = [random.normal(size=(tree.size(level), 1)).astype(np.float32)
                        for level in range(1, tree.depth + 1)]
        self.factors = np.arange(1, len(ensemble) + 2, dtype=np.float32)
        self.asked = [0] * len(self.factors)

    def scorer(self):
        def layer(at):
            def run(user, nodes, interaction):
                self.asked[at] += len(nodes)
                return nodes * self.factors[at]
            return run

        nothing = Ragged.of([[]] * self.tree.n_items)
        postings = [Ragged.of([[]])] * (self.tree.depth - 1)
        return TowerScorer(self.tree, [layer(at) for at in range(len(self.factors))], self.ensemble, self.numbers,
                           postings, ItemKeys(1, nothing), 1)

    def expected(self, level):
        """Logits of all nodes of a level: of its own layer, and of each layer that ends above it."""
        first = np.arange(self.tree.n_items) if level == self.tree.depth else self.tree.offsets[level - 1][:-1]
        at = sum(own < level for own in self.ensemble)
        found = self.numbers[level - 1][:, 0] * self.factors[at]
        for layer, own in enumerate(self.ensemble[:at]):
            of = np.array([self.tree.node_at(own, int(position)) for position in first])
            found = found + self.numbers[own - 1][of, 0] * self.factors[layer]
        return found


def query():
    nobody = KeyHits(np.zeros(2, np.int64), np.empty(0, np.int32), np.empty(0, np.int64), np.empty((0, 3), np.float32))
    return UserQuery(np.zeros((1, 1), np.float32), nobody)


@st.composite
def stacks(draw):
    items, inner = draw(st.integers(1, 200)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = random.integers(0, draw(st.integers(1, 5)), (items, inner)).astype(np.int32)
    tree = build_tree(codes, random.normal(size=(items, 2)).astype(np.float32))
    ensemble = tuple(sorted(draw(st.sets(st.integers(1, inner)))))
    return Stack(tree, ensemble, random), draw(st.integers(1, 30)), draw(st.integers(1, 8))
