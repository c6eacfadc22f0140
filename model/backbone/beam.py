"""Serving the backbone through a HILL tree: a node's features are the best of its members', the over-arch is shared.

The EM version of the index (Section 3.5) over the towers' item vectors. A node's features are maxima over its members
(a segment maximum over what the postings hit), so a node looks at least as good as what lies below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from index_store.tree import Tree, build_tree, segment_means
from model.backbone import model, ranking
from model.backbone.features import Block
from model.backbone.head import Head
from model.backbone.spectral import Towers
from model.hill_em import learn_codes
from model.test_time import parents

BRANCHING = (8, 10, 10, 10)
"""Of Table 6: 8, 80, 800 and 8,000 nodes."""

FEWEST_MEMBERS = 4
"""Items a leaf node holds on average; a smaller catalogue gets fewer levels."""


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
        block: all items' scores for B users.
        tree: over the same items.
        widths: nodes kept at each level above the items; a level that fits is not scored.
        cut: items wanted.

    Returns:
        (B, cut) items, best first, -1 where there are fewer; and (B,) pairs scored, nodes and items.
    """
    ordered, popularity = block.scores[:, :, tree.rows], block.popularity[tree.rows]
    is_open = np.ones((ordered.shape[1], tree.size(1)), bool)
    pairs = np.zeros(len(is_open), np.int64)
    for level, (offsets, width) in enumerate(zip(tree.offsets, widths, strict=True), start=1):
        if is_open.sum(axis=1).max() > width:
            nodes = replace(block, scores=np.maximum.reduceat(ordered, offsets[:-1], axis=2),
                            popularity=np.maximum.reduceat(popularity, offsets[:-1]))
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
