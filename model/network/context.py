"""Context in the network: one row of a table a field, added to the user embeddings, and to the logits of each task.

Over-archs read the sum of user and context as they read a user, so that items meet the context in them, and nothing of
the scorers changes. Rows begin at zero, and that of the unknown value stays there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from index_store.features.context import ContextTables, fixed_ids
from index_store.features.encoder import UNKNOWN, FeatureEncoder


class ContextRows(nn.Module):
    """The tables of the C context fields that the model reads. Nothing is drawn: all other weights begin as without.

    Args:
        encoder: with their vocabularies.
        width: of a user embedding, all layers together.
        tasks: logits.
    """

    def __init__(self, encoder: FeatureEncoder, width: int, tasks: int) -> None:
        super().__init__()
        fields = encoder.spec.model_context
        sizes = [encoder.vocabulary_size("context", field.name) for field in fields]
        self._names, self._fixed = [field.name for field in fields], fixed_ids(encoder)
        self._embedded = [at for at, field in enumerate(fields) if not field.serve_as]
        self.embeddings = nn.ParameterList(nn.Parameter(torch.zeros(sizes[at], width)) for at in self._embedded)
        self.shifts = nn.ParameterList(nn.Parameter(torch.zeros(size, tasks)) for size in sizes)

    def embed(self, users: Tensor, ids: Tensor) -> Tensor:
        """User embeddings in their contexts.

        Args:
            users: (..., Du).
            ids: (..., C) int64.
        """
        for at, table in zip(self._embedded, self.embeddings, strict=True):
            users = users + F.embedding(ids[..., at], table, padding_idx=UNKNOWN)
        return users

    def shift(self, ids: Tensor) -> Tensor:
        """Ids (..., C) -> what is added to logits (..., tasks)."""
        return torch.stack([F.embedding(ids[..., at], table, padding_idx=UNKNOWN)
                            for at, table in enumerate(self.shifts)]).sum(0)

    def forget(self, ids: NDArray[np.int32], share: float, rng: np.random.Generator) -> NDArray[np.int32]:
        """Ids (N, C), a share of them unknown, so that the rest of the network learns what holds on average.

        Fields that only shift logits stay: they are never served unknown, and what they explain would go into the items
        where they are missing.
        """
        forgotten = np.zeros(ids.shape, bool)
        forgotten[:, self._embedded] = rng.random((len(ids), len(self._embedded))) < share
        return np.where(forgotten, np.int32(UNKNOWN), ids)

    def tables(self) -> Iterator[tuple[str, Tensor]]:
        """`context.<field>` and each table of the field."""
        yield from ((f"context.{self._names[at]}", table) for at, table in zip(self._embedded, self.embeddings,
                                                                               strict=True))
        yield from ((f"context.{name}", table) for name, table in zip(self._names, self.shifts, strict=True))

    def arrays(self) -> ContextTables:
        """As a bundle holds them, before folding."""
        embeddings: list[NDArray[np.float32] | None] = [None] * len(self._names)
        for at, table in zip(self._embedded, self.embeddings, strict=True):
            embeddings[at] = table.detach().cpu().numpy()
        return ContextTables(tuple(embeddings), tuple(table.detach().cpu().numpy() for table in self.shifts),
                             self._fixed)
