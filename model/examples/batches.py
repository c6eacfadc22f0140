"""Tensors of a batch: MoNN's inputs of users, items, index nodes and pairs.

Features are computed by `index_store`, as at serving. Training differs only in the histories and co-click counts that
it passes in, which leave out the example's own click.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from index_store.declaration.spec import ITEM_ID, FeatureSpec
from index_store.features.encoder import UNKNOWN, Features
from index_store.features.interaction import Slots, item_features, node_features, node_pair_features, pair_features
from index_store.features.postings import ItemKeys, KeyIndex
from index_store.features.ragged import Ragged
from index_store.features.spectral import SpectralTowers
from index_store.features.spectral_vectors import SpectralVectors
from index_store.features.tower_inputs import all_item_keys, dense_inputs, item_bags, user_bags
from index_store.features.user_keys import KeyHits, user_keys
from index_store.tree.node_content import level_postings, level_vectors, node_means
from index_store.tree.tree import Tree
from model.data.load import Dataset
from model.examples.item_embeddings import ItemEmbeddings
from model.examples.user_batch import Pairs, UserBatch, UserFeatures
from model.network.monn import MoNN


@dataclass(frozen=True)
class IdDropout:
    """Replaces a share of item ids by the unknown id, so that the towers learn from an item's fields too.

    It keeps rare ads from being memorised, and trains the table row that a new ad gets.
    """

    share: float
    rng: np.random.Generator

    def __call__(self, bag: Ragged) -> Ragged:
        dropped = self.rng.random(len(bag.values)) < self.share
        return bag.with_values(np.where(dropped, np.int32(UNKNOWN), bag.values))


class BatchReader:
    """Reads a data set for a model: embeds users and items, and gathers interaction features as tensors.

    Args:
        dataset: the log.
        model: on any device.
    """

    def __init__(self, dataset: Dataset, model: MoNN) -> None:
        self.dataset = dataset
        self.model = model
        self.spec: FeatureSpec = dataset.spec
        self.keys = all_item_keys(dataset.spec, dataset.items)
        starts = dataset.encoder.key_starts()
        self.keys_of_row = ItemKeys.of(dataset.spec.key_families, starts, self.keys)
        self._slots = Slots(int(starts[-1]))
        self.unknown = dataset.encoder.encode_user({}).dense
        """Dense fields (1, ·) of an unknown user."""
        self.nodes: TreeReader | None = None
        """Set by `using_nodes`."""

    @contextmanager
    def using_nodes(self, nodes: TreeReader | None) -> Iterator[None]:
        """Within the block, scores items by the whole stack, with these nodes; by the items' layer alone if None."""
        self.nodes = nodes
        try:
            yield
        finally:
            self.nodes = None

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return self.model.level_offsets.device

    def users(self, features: Features, history: Ragged, index: KeyIndex,
              dropout: IdDropout | None = None) -> UserBatch:
        """Embeds B users with their histories (item rows, most recent first)."""
        return self.embed(self.read(features, history, index, dropout))

    def read(self, features: Features, history: Ragged, index: KeyIndex,
             dropout: IdDropout | None = None) -> UserFeatures:
        """Reads B users; arguments as for `users`. Other threads may train meanwhile."""
        bags = user_bags(self.spec, features, history, self.keys)
        if dropout:
            bags[f"history.{ITEM_ID}"] = dropout(bags[f"history.{ITEM_ID}"])
        return UserFeatures(dense_inputs(self.spec, "user", features.dense), bags, self.hits(features, history, index),
                            spectral_towers_of(index).queries(history), index)

    def embed(self, users: UserFeatures) -> UserBatch:
        """Embeds B users."""
        return UserBatch(users.dense, users.bags, users.hits, users.spectral, users.index,
                         self.model.embed_users(self.tensor(users.dense), users.bags))

    def in_context(self, users: UserBatch, ids: NDArray[np.int32] | None) -> UserBatch:
        """B users in contexts; ids of context fields (B, fields), None if the model reads none."""
        embeddings = self._in_context(users.embeddings, ids)
        return users if embeddings is users.embeddings else replace(users, embeddings=embeddings)

    def pairs(self, users: UserBatch, owners: NDArray[np.int64], rows: NDArray[np.integer], items: Tensor,
              ids: NDArray[np.int32] | None) -> Pairs:
        """S pairs of a user and an item in contexts.

        Args:
            users: B users, without context.
            owners: (S,) of them, ascending.
            rows: (S,) of the items.
            items: (S, Di) their embeddings.
            ids: of context fields (S, fields); None if the model reads none.
        """
        embeddings = users.embeddings.index_select(0, torch.from_numpy(owners).to(self.device))
        return Pairs(users, owners, self._in_context(embeddings, ids), rows, items)

    def _in_context(self, embeddings: Tensor, ids: NDArray[np.int32] | None) -> Tensor:
        """Embeddings of users (N, Du) in contexts (N, fields)."""
        context = self.model.context
        if ids is None or context is None or not len(context.embeddings):
            return embeddings
        return context.embed(embeddings, torch.from_numpy(ids).long().to(self.device))

    def shift(self, ids: NDArray[np.int32] | None) -> Tensor:
        """What contexts, ids (..., fields), add to logits (..., tasks); 0 if the model reads none."""
        context = self.model.context
        if ids is None or context is None:
            return torch.zeros((), device=self.device)
        return context.shift(torch.from_numpy(ids).long().to(self.device))

    def hits(self, features: Features, history: Ragged, index: KeyIndex) -> KeyHits:
        """The keys of B users."""
        return user_keys(index, self.spec, features, history, self.keys)

    def items(self, rows: NDArray[np.integer], dropout: IdDropout | None = None) -> Tensor:
        """Embeds items by rows of any shape (…), each row once: (…, Di)."""
        distinct, at = np.unique(rows, return_inverse=True)
        dense = dense_inputs(self.spec, "item", self.dataset.items.dense[distinct])
        bags = item_bags(self.spec, distinct, self.keys)
        if dropout:
            bags[f"item.{ITEM_ID}"] = dropout(bags[f"item.{ITEM_ID}"])
        embeddings = self.model.embed_items(self.tensor(dense), bags)
        # Not by an index of any shape, whose gradient takes several times as long.
        chosen = embeddings.index_select(0, torch.from_numpy(at.ravel()).to(self.device))
        return chosen.view(*rows.shape, embeddings.shape[1])

    def all_items(self) -> NDArray[np.float32]:
        """Item embeddings (n_items, Di) float32 by row, without gradients."""
        return self.embeddings[np.arange(len(self.dataset.items))]

    @property
    def embeddings(self) -> ItemEmbeddings:
        """As `all_items`, but computed as they are read."""
        return ItemEmbeddings(len(self.dataset.items), self.model.item_width,
                              lambda rows: self.items(rows).cpu().numpy())

    def score_items(self, users: UserBatch, rows: NDArray[np.integer], items: Tensor, *,
                    auxiliary: bool = False) -> Tensor:
        """Task logits (B, C, tasks) of items, by the whole stack within `using_nodes`, else by the items' own layer.

        Args:
            users: B users.
            rows: (B, C).
            items: their embeddings (B, C, Di).
            auxiliary: whether to return the logits of the auxiliary head of the items' layer.
        """
        if self.nodes is not None and not auxiliary:
            return self.model.combine(self.score_layers(users, rows, items, self.nodes))
        return self.model.score(users.embeddings, items, self.tensor(self.features(users, rows)),
                                auxiliary=auxiliary)

    def score_layers(self, users: UserBatch, rows: NDArray[np.integer], items: Tensor, nodes: TreeReader | None,
                     features: Tensor | None = None) -> list[Tensor]:
        """Each layer's logits of items, coarse to fine, each (B, C, tasks).

        A layer above the items scores the nodes of its level that hold the items, or without `nodes` the items
        themselves. The items' interaction features (B, C, F) are computed unless they are given.
        """
        features = self.tensor(self.features(users, rows)) if features is None else features
        logits = [self.model.score(users.embeddings, items, features, level=level) if nodes is None
                  else nodes.score_holding(users, level, rows, items) for level in self.model.ensemble]
        return [*logits, self.model.score(users.embeddings, items, features)]

    def score_pairs(self, pairs: Pairs) -> Tensor:
        """Task logits (S, tasks) of the items of pairs, by what `score_items` scores them by."""
        features = self.tensor(self.pair_features(pairs.users, pairs.owners, pairs.rows))
        logits = pairs.score(self.model, pairs.items, features, None)
        if self.nodes is None:
            return logits
        return self.model.combine([*(self.nodes.score_pairs(pairs, level) for level in self.model.ensemble), logits])

    def features(self, users: UserFeatures, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """Interaction features (B, C, F) of items: rows (C,) for all users or (B, C)."""
        of_keys = item_features(users.hits, self.keys_of_row, rows, self._slots.zeros)
        return np.concatenate([of_keys, users.spectral.features(spectral_towers_of(users.index).items, rows)], axis=2)

    def pair_features(self, users: UserFeatures, owners: NDArray[np.int64],
                      rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """Interaction features (S, F) of S pairs of one of the users and an item row."""
        of_keys = pair_features(users.hits, self.keys_of_row, users.index.n_keys, owners, rows)
        spectral = users.spectral.pair_features(spectral_towers_of(users.index).items, owners, rows)
        return np.concatenate([of_keys, spectral], axis=1)

    def tensor(self, values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values).to(self.device)


def spectral_towers_of(index: KeyIndex) -> SpectralTowers:
    """The spectral towers of an index that was computed here."""
    assert index.spectral is not None  # only the index of an old bundle lacks it
    return index.spectral


class TreeReader(ABC):
    """The tree in training: embeddings and features of the nodes that a batch scores.

    Attributes:
        soft: whether `score_holding` scores a mixture of nodes, whose logits cannot be compared with those of nodes.

    Args:
        reader: of the data set.
        tree: over its items.
        index: any key index of the data set; postings do not depend on co-click counts.
        node_features: see `TrainConfig`.
    """

    soft = False

    def __init__(self, reader: BatchReader, tree: Tree, index: KeyIndex,
                 node_features: Literal["maximum", "representative"]) -> None:
        self.reader, self._index, self._node_features = reader, index, node_features
        self.use(tree)

    def use(self, tree: Tree) -> None:
        """Switches to this tree."""
        self.tree = tree
        self._spectral: dict[tuple[int, int], tuple[KeyIndex, SpectralVectors]] = {}
        self.node_of_row = [tree.node_of_position(level)[tree.position_of_row] for level in range(1, tree.depth)]
        self.postings = [level_postings(tree, self._index, self.reader.keys_of_row, level, self._node_features)
                         for level in range(1, tree.depth)]

    def features(self, users: UserFeatures, level: int, nodes: NDArray[np.integer]) -> NDArray[np.float32]:
        """Interaction features (B, C, F) of nodes of a level: (C,) for all users or (B, C)."""
        of_keys = node_features(users.hits, self.reader.keys_of_row.families, self.postings[level - 1],
                                self.tree.size(level), nodes)
        return np.concatenate([of_keys, users.spectral.features(self.vectors(users.index, level), nodes)], axis=2)

    def vectors(self, index: KeyIndex, level: int) -> SpectralVectors:
        """Spectral vectors of the nodes of a level, computed once for each index."""
        key = id(index), level
        if key not in self._spectral:
            self._spectral[key] = index, level_vectors(self.tree, spectral_towers_of(index).items, level)
        return self._spectral[key][1]

    def advance(self, share: float) -> None:
        """Sets the progress of the training with a tree, from 0 to 1; no effect on fixed codes."""
        del share

    @abstractmethod
    def refresh(self) -> None:
        """Recomputes the virtual embeddings from the current weights of a model in eval mode."""

    @abstractmethod
    def embeddings(self, level: int) -> Tensor:
        """Virtual embeddings of a level (nodes, Di), with the level's learned offset."""

    def embeddings_of(self, level: int, nodes: Tensor) -> Tensor:
        """As `embeddings`, of some nodes of any shape (…): (…, Di)."""
        return self.embeddings(level)[nodes]

    def score_nodes(self, users: UserBatch, level: int, nodes: NDArray[np.integer],
                    features: NDArray[np.float32] | None = None) -> Tensor:
        """Task logits (B, C, tasks) of nodes of a level: (C,) for all users or (B, C).

        Their interaction features (B, C, F) are computed unless they are given.
        """
        features = self.features(users, level, nodes) if features is None else features
        embeddings = self.embeddings_of(level, torch.from_numpy(np.asarray(nodes, np.int64)).to(self.reader.device))
        return self.reader.model.score(users.embeddings, embeddings, self.reader.tensor(features), level=level)

    def penalty(self, level: int, rows: NDArray[np.integer], items: Tensor) -> Tensor:
        """The index's own loss on a batch, down to a level, called once per batch; zero for fixed codes.

        Arguments as those of `embeddings_holding`.
        """
        del level, rows
        return torch.zeros((), device=items.device)

    @abstractmethod
    def embeddings_holding(self, level: int, rows: NDArray[np.integer], items: Tensor) -> Tensor:
        """Virtual embeddings (…, Di) of the nodes of a level that hold items, with the level's learned offset.

        Args:
            level: of the nodes.
            rows: (…) item rows.
            items: (…, Di) their embeddings in this batch.
        """

    def score_holding(self, users: UserBatch, level: int, rows: NDArray[np.integer], items: Tensor) -> Tensor:
        """Task logits (B, C, tasks) of the nodes of a level that hold items (B, C), of B users."""
        features = self.reader.tensor(self.features(users, level, self.node_of_row[level - 1][rows]))
        return self.reader.model.score(users.embeddings, self.embeddings_holding(level, rows, items), features,
                                       level=level)

    def score_pairs(self, pairs: Pairs, level: int, *, windows: bool = False) -> Tensor:
        """Task logits (S, tasks) of the nodes of a level that hold the items of pairs; `windows` as in `MoNN.score`."""
        nodes, families = self.node_of_row[level - 1][pairs.rows], self.reader.keys_of_row.families
        of_keys = node_pair_features(pairs.users.hits, families, self.postings[level - 1], self.tree.size(level),
                                     pairs.owners, nodes)
        spectral = pairs.users.spectral.pair_features(self.vectors(pairs.users.index, level), pairs.owners, nodes)
        return pairs.score(self.reader.model, self.embeddings_holding(level, pairs.rows, pairs.items),
                           self.reader.tensor(np.concatenate([of_keys, spectral], axis=1)), level, windows=windows)


class HardTreeReader(TreeReader):
    """A tree of fixed codes, for the M-step.

    Args:
        reader, tree, index, node_features: as for `TreeReader`.
        virtual: embeddings of the nodes of each level above the items, without level offsets; None for the means of
            the nodes' members.
    """

    def __init__(self, reader: BatchReader, tree: Tree, index: KeyIndex,
                 node_features: Literal["maximum", "representative"],
                 virtual: Sequence[NDArray[np.float32]] | None = None) -> None:
        super().__init__(reader, tree, index, node_features)
        self._virtual = [reader.tensor(level) for level in virtual or node_means(tree, reader.embeddings)]

    def refresh(self) -> None:
        """Recomputes the means; no gradient flows back into the item tower."""
        self._virtual = [self.reader.tensor(level) for level in node_means(self.tree, self.reader.embeddings)]

    def embeddings(self, level: int) -> Tensor:
        """Virtual embeddings of a level (nodes, Di), with the level's learned offset."""
        return self._virtual[level - 1] + self.reader.model.level_offsets[level - 1]

    def embeddings_of(self, level: int, nodes: Tensor) -> Tensor:
        """As `embeddings`, of some nodes of any shape (…): (…, Di), without a copy of the level for each batch."""
        return self._virtual[level - 1][nodes] + self.reader.model.level_offsets[level - 1]

    def embeddings_holding(self, level: int, rows: NDArray[np.integer], items: Tensor) -> Tensor:
        """Virtual embeddings (…, Di) of the nodes of a level that hold items, with the level's learned offset."""
        nodes = np.asarray(self.node_of_row[level - 1][rows], np.int64)
        return self.embeddings_of(level, torch.from_numpy(nodes).to(self.reader.device))
