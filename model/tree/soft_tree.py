"""The tree of the joint index as training sees it: soft for the items of a batch, hard for everything that names nodes.

A snapshot of the hard codes gives the nodes, their members' interaction features and which nodes hold what a user
likes; it is renewed a few times an epoch. The embedding of an example's own node is the soft mixture, so the loss of
`(y, (u, c~))` reaches the codes and the assignment (Algorithm 1, line 10).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from index_store.features.postings import KeyIndex
from index_store.tree.tree import Tree, build_tree
from model.examples.batches import Reader, TreeReader, UserBatch
from model.tree.codebooks import Attended, Codebooks


def snapshot_tree(codebooks: Codebooks, codes: NDArray[np.int32], embeddings: NDArray[np.float32]) -> Tree:
    """The prefix tree of hard codes (n_items, levels); a node's medoid is the member nearest to its virtual embedding.

    Args:
        codebooks: that the codes belong to.
        codes: of every item row.
        embeddings: (n_items, Di) of the item tower.
    """
    with torch.no_grad():
        centres = [codebooks.node_embeddings(codes, level).cpu().numpy() for level in range(1, codebooks.levels + 1)]
    return build_tree(codes, embeddings, centres)


def virtual_embeddings(codebooks: Codebooks, codes: NDArray[np.int32], tree: Tree) -> list[NDArray[np.float32]]:
    """What the scorer reads of the nodes of a snapshot: one (nodes, Di) a level above the items."""
    with torch.no_grad():
        return [codebooks.node_embeddings(codes[tree.rows[offsets[:-1]]], level).cpu().numpy()
                for level, offsets in enumerate(tree.offsets, start=1)]


class SoftTreeReader(TreeReader):
    """Reads a tree that is still being learned.

    Args:
        reader: reads the data set.
        codebooks: started.
        index: any of the data set; its postings do not depend on co-click counts.
        node_features: see `TrainConfig`.
        renewed: told the codes of each snapshot, their tree, and the gap between soft and hard.
    """

    soft = True

    def __init__(self, reader: Reader, codebooks: Codebooks, index: KeyIndex,
                 node_features: Literal["maximum", "representative"],
                 renewed: Callable[[NDArray[np.int32], Tree, float], None]) -> None:
        self.codebooks, self._renewed = codebooks, renewed
        super().__init__(reader, self._snapshot(reader), index, node_features)

    def _snapshot(self, reader: Reader) -> Tree:
        embeddings = reader.all_items()
        everything = torch.arange(len(embeddings), device=reader.device)
        self._read = self.codebooks.read(torch.from_numpy(embeddings).to(reader.device), everything)
        self.codes, gap = self.codebooks.snapshot(self._read)
        tree = snapshot_tree(self.codebooks, self.codes, embeddings)
        self._renewed(self.codes, tree, gap)
        return tree

    def advance(self, share: float) -> None:
        """Sharpens the attention as training goes on."""
        self.codebooks.progress = share

    def refresh(self) -> None:
        """Takes a new snapshot, by the codes and the item tower as they are now."""
        self.take(self._snapshot(self.reader))

    def embeddings(self, level: int) -> Tensor:
        """Virtual embeddings of a level (nodes, Di), with the level's learned offset."""
        members = self.tree.rows[self.tree.offsets[level - 1][:-1]]
        return (self.codebooks.node_embeddings(self.codes[members], level)
                + self.reader.model.level_offsets[level - 1])

    def _attended(self, level: int, rows: NDArray[np.integer],
                  items: Tensor) -> tuple[Tensor, Attended, NDArray[np.int64]]:
        """What attention reads of the distinct items (N, D), what it makes of them, and the place (B, C) of each row.

        Unless the gradient is `joint`, attention reads the items as they were at the last snapshot, whole and without
        dropout, and the item tower learns nothing from it.
        """
        distinct, first, at = np.unique(rows, return_index=True, return_inverse=True)
        place = torch.from_numpy(distinct).to(self.reader.device)
        if self.codebooks.config.gradient == "joint":
            read = self.codebooks.read(items.flatten(0, 1)[torch.from_numpy(first).to(items.device)], place)
        else:
            read = self._read[place]
        return read, self.codebooks.attend(read, level), at.reshape(rows.shape)

    def penalty(self, level: int, rows: NDArray[np.integer], items: Tensor) -> Tensor:
        """Reconstruction and balance of the items of a batch, down to a level."""
        read, attended, _ = self._attended(level, rows, items)
        return self.codebooks.penalty(read, attended)

    def score_holding(self, users: UserBatch, level: int, rows: NDArray[np.integer], items: Tensor) -> Tensor:
        """Task logits (B, C, tasks) of users with the pseudo embeddings of items."""
        _, attended, at = self._attended(level, rows, items)
        model = self.reader.model
        soft = self.codebooks.item_space(attended.quantized)[torch.from_numpy(at).to(items.device)]
        features = self.features(users, level, self.node_of_row[level - 1][rows])
        return model.score(users.embeddings, soft + model.level_offsets[level - 1], features, level=level)
