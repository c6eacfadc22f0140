"""Sharded indexes whose logits are planted: the embedding of a node is what its scorer answers. No network."""

from itertools import pairwise

import numpy as np

from index_store.features.postings import ItemKeys
from index_store.features.ragged import Ragged
from index_store.features.user_keys import KeyHits
from index_store.search.scoring import TowerScorer, UserQuery
from index_store.search.sharded_scorer import ShardedScorer
from index_store.tree.tree import Tree

TASKS = 2


def query():
    """A user without keys."""
    return UserQuery(np.zeros((1, 1), np.float32), KeyHits(np.zeros(2, np.int64), np.empty(0, np.int32),
                                                           np.empty(0, np.int64), np.empty((0, 1), np.float32)))


def scorer_of(tree, logits, ensemble=(), kind=TowerScorer, **more):
    """A scorer that answers with `logits`, one (nodes, TASKS) a level."""
    layers = [lambda user, items, interaction: np.array(items, np.float32)] * (len(ensemble) + 1)
    nothing = Ragged.of([np.empty(0, np.int32)])
    keys = ItemKeys(1, Ragged(np.zeros(tree.n_items + 1, np.int64), np.empty(0, np.int32)))
    return kind(tree, layers, ensemble, tuple(logits), (nothing,) * (tree.depth - 1), keys, 1, **more)


def sharded(tree, logits, bounds, ensemble=(), away=()):
    """The same as a root and shards in this process, some of which are away, and a record of who was asked."""
    shards = LocalShards([scorer_of(Tree(np.arange(end - first, dtype=np.int32), (), ()), [logits[-1][first:end]])
                          for first, end in pairwise(bounds)], away)
    root = scorer_of(tree, [*logits[:-1], logits[-1][:0]], ensemble, ShardedScorer, shards=shards, bounds=bounds,
                     tasks=TASKS)
    return root, shards


class LocalShards:
    """Shards as scorers of trees of items alone."""

    def __init__(self, scorers, away=()):
        self.scorers, self.away, self.asked = scorers, away, []

    def ask(self, query, wanted):
        self.asked += [(one.shard, one.positions.tolist()) for one in wanted]
        answers = [None if one.shard in self.away else
                   self.scorers[one.shard].score_alone(query, 1, one.positions) for one in wanted]
        return lambda: answers
