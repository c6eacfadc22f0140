"""Scores of all items, one user at a time, to bound memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from index_store.bundle.folded_files import kernel_of
from index_store.features.postings import KeyIndex
from index_store.features.spectral_vectors import SpectralVectors
from index_store.kernel.library import library
from index_store.search.scoring import DenseLayers, TowerScorer, UserQuery
from index_store.tree.node_content import level_vectors
from index_store.tree.tree import Tree
from model.examples.batches import BatchReader
from model.examples.clicks import Clicks
from model.network.folding import FoldedNetwork, torch_layers
from model.progress.bars import Bar


class ItemScores:
    """Scores of all items by the first task, with the folded form of the model.

    Args:
        reader: of the model in eval mode; outside `using_nodes` a stack scores by its items' layer alone.
        clicks: of the users, their histories.
        index: key index.
    """

    def __init__(self, reader: BatchReader, clicks: Clicks, index: KeyIndex) -> None:
        self._reader, self._clicks, self._index = reader, clicks, index
        self._folded, items = FoldedNetwork(reader.model), reader.all_items()
        if reader.nodes is not None:
            tree, postings, ensemble = reader.nodes.tree, reader.nodes.postings, reader.model.ensemble
        else:
            tree, postings, ensemble = Tree(np.arange(len(items), dtype=np.int32), (), ()), [], ()
        with torch.no_grad():
            parts = [self._folded.item_part(reader.nodes.embeddings(level), level) for level in range(1, tree.depth)
                     ] if reader.nodes is not None else []
            parts.append(self._folded.item_part(reader.tensor(items[tree.rows])))
        layers = _dense_layers(self._folded, reader.device)
        self._scorer = TowerScorer(tree, layers if ensemble else layers[-1:], ensemble,
                                   [part.cpu().numpy() for part in parts], postings,
                                   reader.keys_of_row.take(tree.rows), index.n_keys, self._vectors(tree))
        self._positions = np.arange(len(items))

    def _vectors(self, tree: Tree) -> list[SpectralVectors]:
        """Spectral vectors of each level of the tree, the items last."""
        towers = self._index.spectral
        assert towers is not None
        return [*(level_vectors(tree, towers.items, level) for level in range(1, tree.depth)),
                towers.items.take(tree.rows)]

    def of(self, user: int) -> NDArray[np.float32]:
        """Scores of a user row: (n_items,) float32 by item row."""
        reader, one = self._reader, np.array([user])
        with torch.no_grad():
            batch = reader.users(reader.dataset.users.take(one),
                                 self._clicks.histories(one), self._index)
            query = UserQuery(self._folded.user_part(batch.embeddings).cpu().numpy(), batch.hits, batch.spectral)
            # By position, so that no block of item parts has to be gathered.
            scores = self._scorer.score(query, self._scorer.tree.depth, self._positions)[:, 0]
        by_row = np.empty_like(scores)
        by_row[self._scorer.tree.rows] = scores
        return by_row

    def each(self, users: Sequence[int] | NDArray[np.integer], take: Callable[[int, NDArray[np.float32]], None],
             what: str) -> None:
        """Calls `take(place in users, scores)` for every user, from several threads at once and in any order."""
        def score(place: int) -> None:
            take(place, self.of(int(users[place])))

        # Torch's limit is the calling thread's own, that of BLAS the process's.
        with (threadpool_limits(1, "blas"),
              ThreadPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool):
            for _ in Bar(pool.map(score, range(len(users))), total=len(users), desc=what, unit="user", leave=False):
                pass


def _dense_layers(folded: FoldedNetwork, device: torch.device) -> list[DenseLayers]:
    """The scorers, by the compiled kernel where it knows them and the network is on the CPU."""
    layers = torch_layers(folded.scorers, device)
    if device.type != "cpu":
        return layers
    kernels = [kernel_of(weights, library()) for weights in folded.weights()]
    return [kernel or layer for kernel, layer in zip(kernels, layers, strict=True)]
