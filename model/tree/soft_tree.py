"""The joint index in training: soft assignments for the items of a batch, hard codes for its nodes.

A snapshot of the hard codes gives the nodes, their interaction features and the nodes above a user's clicks; it is
taken a few times an epoch. The embedding of an example's own node is the soft mixture, so the loss of `(y, (u, c~))`
reaches the codes and the assignment (Algorithm 1, line 10).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from index_store.features.postings import KeyIndex
from index_store.tree.tree import Tree
from model.examples.batches import BatchReader, TreeReader
from model.tree.codebooks import Attended, Codebooks
from model.tree.learned_tree import snapshot_tree


class SoftTreeReader(TreeReader):
    """A tree that is learned together with the model.

    Args:
        reader: reads the data set.
        codebooks: initialised.
        index: any key index of the data set; postings do not depend on co-click counts.
        node_features: see `TrainConfig`.
        on_snapshot: called with the codes of each snapshot, their tree, and the gap between soft and hard.
    """

    soft = True

    def __init__(self, reader: BatchReader, codebooks: Codebooks, index: KeyIndex,
                 node_features: Literal["maximum", "representative"],
                 on_snapshot: Callable[[NDArray[np.int32], Tree, float], None]) -> None:
        self.codebooks, self._on_snapshot = codebooks, on_snapshot
        super().__init__(reader, self._snapshot(reader), index, node_features)

    def _snapshot(self, reader: BatchReader) -> Tree:
        embeddings = reader.all_items()
        everything = torch.arange(len(embeddings), device=reader.device)
        self._read = self.codebooks.read(torch.from_numpy(embeddings).to(reader.device), everything)
        self.codes, gap = self.codebooks.snapshot(self._read)
        tree = snapshot_tree(self.codebooks, self.codes, embeddings)
        self._on_snapshot(self.codes, tree, gap)
        return tree

    def advance(self, share: float) -> None:
        """Sharpens the attention as training goes on."""
        self.codebooks.progress = share

    def refresh(self) -> None:
        """Takes a snapshot of the current codes and item tower."""
        self.use(self._snapshot(self.reader))

    def embeddings(self, level: int) -> Tensor:
        """Virtual embeddings of a level (nodes, Di), with the level's learned offset."""
        members = self.tree.rows[self.tree.offsets[level - 1][:-1]]
        return (self.codebooks.node_embeddings(self.codes[members], level)
                + self.reader.model.level_offsets[level - 1])

    def _attended(self, level: int, rows: NDArray[np.integer],
                  items: Tensor) -> tuple[Tensor, Attended, NDArray[np.int64]]:
        """The attention's input for the distinct items (N, D), its output, and the place (…) of each row among them.

        Unless the gradient is `joint`, attention reads the items as they were at the last snapshot, without dropout,
        and no gradient reaches the item tower.
        """
        distinct, first, at = np.unique(rows, return_index=True, return_inverse=True)
        place = torch.from_numpy(distinct).to(self.reader.device)
        if self.codebooks.config.gradient == "joint":
            read = self.codebooks.read(items.flatten(0, -2)[torch.from_numpy(first).to(items.device)], place)
        else:
            read = self._read[place]
        return read, self.codebooks.attend(read, level), at.reshape(rows.shape)

    def penalty(self, level: int, rows: NDArray[np.integer], items: Tensor) -> Tensor:
        """Reconstruction and balance of the items of a batch, down to a level."""
        read, attended, _ = self._attended(level, rows, items)
        return self.codebooks.penalty(read, attended)

    def embeddings_holding(self, level: int, rows: NDArray[np.integer], items: Tensor) -> Tensor:
        """The pseudo embeddings (…, Di) of items, with the level's learned offset."""
        _, attended, at = self._attended(level, rows, items)
        soft = self.codebooks.item_space(attended.quantized)[torch.from_numpy(at).to(items.device)]
        return soft + self.reader.model.level_offsets[level - 1]
