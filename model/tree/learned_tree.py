"""The tree that a run has learned: a code for each item at each level, the nodes that follow, and their reader."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from index_store.features.postings import KeyIndex
from index_store.tree.node_content import node_means
from index_store.tree.tree import Tree, Vectors, build_tree
from model.config.errors import ConfigError
from model.config.train import TrainConfig
from model.examples.batches import BatchReader, HardTreeReader
from model.tree.codebooks import Codebooks
from model.tree.profiles import profile_width


class LearnedTree:
    """A tree given by codes alone; the virtual embedding of a node is the mean of its members' embeddings.

    Attributes:
        codes: (n_items, levels) int32, or None before the first tree is learned. In a run that starts from another
            these are at first the other run's codes, -1 for items that it lacked.
        modules: parameters of the tree by the prefix of their tensors in a checkpoint.
    """

    def __init__(self) -> None:
        self.codes: NDArray[np.int32] | None = None
        self.modules: dict[str, nn.Module] = {}

    def required_codes(self) -> NDArray[np.int32]:
        """The codes.

        Raises:
            ConfigError: no tree has been learned yet.
        """
        if self.codes is None:
            raise ConfigError("the run has no tree yet; resume the training until it has learned one")
        return self.codes

    def build(self, embeddings: Vectors) -> tuple[Tree, list[NDArray[np.float32]]]:
        """The prefix tree of the codes and the virtual embeddings of its nodes.

        Args:
            embeddings: (n_items, Di) of the item tower.

        Returns:
            The tree, and for each level above the items (nodes, Di) without level offsets.

        Raises:
            ConfigError: no tree has been learned yet.
        """
        tree = build_tree(self.required_codes(), embeddings)
        return tree, node_means(tree, embeddings)


class CodebookTree(LearnedTree):
    """The tree of the joint index, whose codebooks are trained along with the model.

    Args:
        codebooks: of the run.
        by_means: whether its nodes read the means of their members, like those of other trees, by which nodes with
            layers of their own find more once they are taught (docs/decisions/0057-joint-tree.md). Others keep what
            they are trained with, the sum of the codes on their path.
    """

    def __init__(self, codebooks: Codebooks, by_means: bool) -> None:
        super().__init__()
        self.codebooks, self._by_means = codebooks, by_means
        self.modules = {"index": codebooks}

    def build(self, embeddings: Vectors) -> tuple[Tree, list[NDArray[np.float32]]]:
        if self._by_means:
            return super().build(embeddings)
        codes = self.required_codes()
        tree = snapshot_tree(self.codebooks, codes, embeddings)
        return tree, virtual_embeddings(self.codebooks, codes, tree)


def new_tree(reader: BatchReader, config: TrainConfig) -> LearnedTree:
    """A tree without codes, of the kind and branching that the settings name."""
    if config.tree != "joint":
        return LearnedTree()
    embedding = reader.model.item_width
    profile = max(profile_width(reader.spec), embedding)
    codebooks = Codebooks(config.branching, len(reader.dataset.items), embedding, profile, config.hill)
    return CodebookTree(codebooks.to(reader.device), by_means=reader.model.node_layers is not None)


def snapshot_tree(codebooks: Codebooks, codes: NDArray[np.int32], embeddings: Vectors) -> Tree:
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
    """Virtual embeddings of the nodes of a tree of hard codes: one (nodes, Di) a level above the items."""
    with torch.no_grad():
        return [codebooks.node_embeddings(codes[tree.rows[offsets[:-1]]], level).cpu().numpy()
                for level, offsets in enumerate(tree.offsets, start=1)]


class FixedTreeReader(HardTreeReader):
    """A tree that is not learned further; its nodes' embeddings follow the item tower.

    Args:
        reader: of the run's model, in eval mode.
        learned: the tree.
        index, node_features: as for `TreeReader`.
    """

    def __init__(self, reader: BatchReader, learned: LearnedTree, index: KeyIndex,
                 node_features: Literal["maximum", "representative"]) -> None:
        self._learned = learned
        tree, virtual = learned.build(reader.embeddings)
        super().__init__(reader, tree, index, node_features, virtual)

    def refresh(self) -> None:
        """Recomputes representatives and virtual embeddings, for any kind of tree."""
        tree, virtual = self._learned.build(self.reader.embeddings)
        self.use(tree)
        self._virtual = [self.reader.tensor(level) for level in virtual]
