"""Test-time training of the towers (Section 3.6): index nodes become extra items of the matrix that is factorised.

The towers' loss is the squared error of a low-rank product on the normalised pairs. Pairs `<user, node>` join it as
columns whose vectors start at the node's q; a few iterations from the fitted vectors follow, and the nodes' rows are
dropped again: they are never ranked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from index_store.features.ragged import Ragged
from index_store.tree.tree import Tree
from model.backbone.beam import node_vectors
from model.backbone.interactions import Matrix, matrix
from model.backbone.spectral import Towers, fit_towers, normalised
from model.tree.node_pairs import IndexPairs, Interest, index_pairs


def history_pairs(train: Matrix, tree: Tree, phi: Sequence[float]) -> list[IndexPairs]:
    """Pairs of the users' train items alone."""
    history = Ragged.of_lengths(np.diff(train.indptr), train.indices)
    return index_pairs(tree, Interest.of("history", history), phi)


def tuned(train: Matrix, towers: Towers, tree: Tree, pairs: Sequence[IndexPairs], iterations: int,
          rng: np.random.Generator) -> Towers:
    """The towers after a few more iterations on real pairs and node pairs.

    Args:
        train: (users, items) CSR.
        towers: fitted on it.
        tree: whose nodes the pairs name.
        pairs: of each level; none for the control on real pairs only.
        iterations: passes over all pairs.
        rng: draws the directions of the oversampling.
    """
    columns, start = [train], [towers.vectors]
    for level in pairs:
        columns.append(matrix(level.users, level.nodes, (train.shape[0], tree.size(level.level))))
        start.append(node_vectors(towers, tree, level.level))
    together = sparse.hstack(columns, format="csr")
    together.sort_indices()
    fitted = fit_towers(normalised(together), len(towers.strengths), rng, iterations=iterations,
                        start=np.concatenate(start))
    return Towers(np.ascontiguousarray(fitted.vectors[:train.shape[1]]), fitted.strengths)
