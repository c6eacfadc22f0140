"""Beam search for the backbone through a HILL tree, whose nodes and items are scored by the same over-arch.

The index is the EM version (Section 3.5) over the towers' item vectors. A node's features are maxima over its members
(a segment maximum over the hits of the postings), so each is at least as large as that of any member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from index_store.tree.tree import Tree, build_tree, segment_means
from model.backbone import model, ranking
from model.backbone.features import Block
from model.backbone.head import Head
from model.backbone.spectral import Towers
from model.tree.k_means import learn_codes
from model.tree.node_pairs import parents

BRANCHING = (8, 10, 10, 10)
"""Of Table 6: 8, 80, 800 and 8,000 nodes."""

FEWEST_MEMBERS = 4
"""Least mean number of items in a leaf node; a smaller catalogue gets fewer levels."""


def learn_tree(towers: Towers, seed: int, branching: Sequence[int] = BRANCHING) -> Tree:
    """k-means per parent on the directions of the item vectors, each weighted by its strength."""
    vectors = towers.vectors * towers.strengths
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    levels = list(branching)
    while len(levels) > 1 and np.prod(levels) * FEWEST_MEMBERS > len(vectors):
        levels.pop()
    return build_tree(learn_codes(vectors, levels, seed), vectors)


def node_vectors(towers: Towers, tree: Tree, level: int) -> NDArray[np.float32]:
    """(nodes, D) virtual embeddings q of a level: means of the members' vectors."""
    return segment_means(towers.vectors[tree.rows], tree.offsets[level - 1])


def search(head: Head, block: Block, tree: Tree, widths: Sequence[int],
           cut: int = ranking.CUT) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Beam search for all users of a block at once.

    Args:
        head: scores nodes and items.
        block: scores of all items for B users.
        tree: over the same items.
        widths: nodes kept at each level above the items; a level with no more nodes is not scored.
        cut: items wanted.

    Returns:
        (B, cut) items, best first, -1 where there are fewer; and (B,) pairs scored, nodes and items.
    """
    is_open = np.ones((len(block.history), tree.size(1)), bool)
    pairs = np.zeros(len(is_open), np.int64)
    for level, (nodes, width) in enumerate(zip(_nodes(block, tree), widths, strict=True), start=1):
        if is_open.sum(axis=1).max() > width:
            rows, chosen = is_open.nonzero()
            pairs += np.bincount(rows, minlength=len(pairs))
            kept = model.rank(head, nodes, rows, chosen, width)
            is_open[:] = False
            who, place = (kept >= 0).nonzero()
            is_open[who, kept[who, place]] = True
        is_open = is_open[:, parents(tree, level)]
    items = np.empty_like(is_open)
    items[:, tree.rows] = is_open
    items[block.own.nonzero()] = False
    rows, chosen = items.nonzero()
    return model.rank(head, block, rows, chosen, cut), pairs + np.bincount(rows, minlength=len(pairs))


def _nodes(block: Block, tree: Tree) -> list[Block]:
    """A block of the nodes of each level above the items, coarse to fine: maxima over their members."""
    kinds, users, items = block.scores.shape
    # Items as rows: a node's maximum is then one of whole rows. torch transposes three times as fast as numpy.
    scores = torch.from_numpy(block.scores.reshape(kinds * users, items)).T.contiguous().numpy()[tree.rows]
    popularity = block.popularity[tree.rows]
    found: list[Block] = []
    for level in range(tree.depth - 1, 0, -1):
        first = np.flatnonzero(np.diff(parents(tree, level), prepend=-1))
        scores, popularity = _segment_maxima(scores, first), np.maximum.reduceat(popularity, first)
        found.insert(0, replace(block, scores=np.ascontiguousarray(scores.T).reshape(kinds, users, -1),
                                popularity=popularity))
    return found


def _segment_maxima(rows: NDArray[np.float32], first: NDArray[np.integer]) -> NDArray[np.float32]:
    """`np.maximum.reduceat(rows, first)` for short segments: the k-th rows of all segments that have one at once."""
    sizes = np.diff(first, append=len(rows))
    maxima: NDArray[np.float32] = rows[first]
    for k in range(1, sizes.max()):
        longer = np.flatnonzero(sizes > k)
        maxima[longer] = np.maximum(maxima[longer], rows[first[longer] + k])
    return maxima
