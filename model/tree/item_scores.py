"""Scores of all items, a range of them and one user at a time, to bound memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from index_store.bundle.folded_files import kernel_of
from index_store.compiled.library import library
from index_store.features.postings import KeyIndex
from index_store.features.spectral_vectors import SpectralVectors
from index_store.search.scoring import DenseLayers, TowerScorer, UserQuery
from index_store.tree.node_content import level_vectors
from index_store.tree.tree import Tree
from model.examples.batches import BatchReader, TreeReader, spectral_towers_of
from model.examples.clicks import Clicks
from model.network.folding import FoldedNetwork, torch_layers
from model.progress.range_workers import Worker
from model.progress.ranges import ROWS, Range, ranges_of
from model.progress.single_threads import single_threads

Users = Sequence[int] | NDArray[np.integer]

Take = Callable[[int, NDArray[np.float32]], None]
"""(place of a user, the scores of a range by row)."""


class ItemScores:
    """Scores of all items by the first task, with the folded form of the model.

    Args:
        reader: of the model in eval mode; outside `using_nodes` a stack scores by its items' layer alone.
        clicks: of the users, their histories.
        index: key index.
        rows: most items of a range. A stack within `using_nodes` has all of them in one, since its layers share nodes.
    """

    def __init__(self, reader: BatchReader, clicks: Clicks, index: KeyIndex, rows: int = ROWS) -> None:
        self._reader, self._clicks, self._index, self._rows = reader, clicks, index, rows
        self._folded = FoldedNetwork(reader.model)
        self._layers = _dense_layers(self._folded, reader.device)
        n = len(reader.dataset.items)
        self.ranges = ranges_of(n, n if self._stacked else rows)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy makes kernels of its own."""
        return ItemScores, (self._reader, self._clicks, self._index, self._rows)

    @property
    def _stacked(self) -> bool:
        return self._reader.nodes is not None and bool(self._reader.model.ensemble)

    def of(self, user: int) -> NDArray[np.float32]:
        """Scores of a user row: (n_items,) float32 by item row."""
        return np.concatenate([self._by_row(self._scorer(items), user) for items in self.ranges])

    def range(self, items: Range, users: Users, take: Take, worker: Worker) -> None:
        """Takes the scores of every user in a range of items, from several threads at once and in any order."""
        scorer = self._scorer(items)

        def score(place: int) -> None:
            take(place, self._by_row(scorer, int(users[place])))

        with single_threads(worker.threads) as pool:
            for _ in pool.map(score, range(len(users))):
                worker.done(len(items))

    def _by_row(self, scorer: TowerScorer, user: int) -> NDArray[np.float32]:
        reader, one = self._reader, np.array([user])
        with torch.no_grad():
            batch = reader.users(reader.dataset.users.take(one), self._clicks.histories(one), self._index)
            query = UserQuery(self._folded.user_part(batch.embeddings).cpu().numpy(), batch.hits, batch.spectral)
            # By position, so that no block of item parts has to be gathered.
            scores = scorer.score(query, scorer.tree.depth, np.arange(scorer.tree.n_items))[:, 0]
        by_row = np.empty_like(scores)
        by_row[scorer.tree.rows] = scores
        return by_row

    def _scorer(self, items: Range) -> TowerScorer:
        """Of the items of a range alone, or of all nodes."""
        reader, nodes = self._reader, self._reader.nodes
        rows: NDArray[np.integer]
        if self._stacked and nodes is not None:
            rows, tree = nodes.tree.rows, nodes.tree
            parts, vectors = self._node_parts(nodes)
            postings, layers, ensemble = nodes.postings, self._layers, reader.model.ensemble
        else:
            rows, tree = np.arange(items.first, items.end), Tree(np.arange(len(items), dtype=np.int32), (), ())
            parts, vectors, postings, layers, ensemble = [], [], [], self._layers[-1:], ()
        with torch.no_grad():
            parts.append(self._folded.item_part(reader.tensor(reader.embeddings[rows])).cpu().numpy())
        vectors.append(spectral_towers_of(self._index).items.take(rows))
        return TowerScorer(tree, layers, ensemble, parts, postings, reader.keys_of_row.take(rows), self._index.n_keys,
                           vectors)

    def _node_parts(self, nodes: TreeReader) -> tuple[list[NDArray[np.float32]], list[SpectralVectors]]:
        """Item parts and spectral vectors of each level of the tree above the items."""
        levels, items = range(1, nodes.tree.depth), spectral_towers_of(self._index).items
        with torch.no_grad():
            parts = [self._folded.item_part(nodes.embeddings(level), level).cpu().numpy() for level in levels]
        return parts, [level_vectors(nodes.tree, items, level) for level in levels]


def _dense_layers(folded: FoldedNetwork, device: torch.device) -> list[DenseLayers]:
    """The scorers, by the compiled kernel where it knows them and the network is on the CPU."""
    layers = torch_layers(folded.scorers, device)
    if device.type != "cpu":
        return layers
    kernels = [kernel_of(weights, library()) for weights in folded.weights()]
    return [kernel or layer for kernel, layer in zip(kernels, layers, strict=True)]
