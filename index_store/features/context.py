"""What context adds: to a user's embedding, right before ads are scored, and to the logits of all ads alike.

The user tower never reads context, so that cached embeddings hold in any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import UNKNOWN, FeatureEncoder
from index_store.features.vocabulary import look_up_one

REQUESTED = -1
"""In place of the id that a field is fixed at: it is that of the request."""


@dataclass(frozen=True, eq=False)
class ContextTables:
    """Rows of C context fields by value, for a model or, with its parts folded, for the exported graphs.

    Row UNKNOWN is zero in all of them.

    Attributes:
        embeddings: of each field (values, Du) float32, None for one that only shifts logits.
        shifts: of each field (values, tasks) float32.
        fixed: (C,) int32, the ids that fields with `serve_as` are served at, REQUESTED for the others.
    """

    embeddings: tuple[NDArray[np.float32] | None, ...]
    shifts: tuple[NDArray[np.float32], ...]
    fixed: NDArray[np.int32]

    def embed(self, user: NDArray[np.float32], ids: NDArray[np.int32] | None) -> NDArray[np.float32]:
        """The embedding (1, Du) of a user in a context: that of the user (1, Du), which stays as it is, plus its rows.

        Args:
            user: output of the user tower.
            ids: (C,) of the fields; None for an unknown context.
        """
        for table, value in zip(self.embeddings, () if ids is None else ids.tolist(), strict=False):
            if table is not None and value != UNKNOWN:
                user = user + table[value]
        return user

    def shift(self, ids: NDArray[np.int32] | None, *, as_logged: bool = False) -> NDArray[np.float32]:
        """What is added to the logits (tasks,) of all ads.

        Args:
            ids: (C,) of the fields; None for an unknown context.
            as_logged: whether fields that are fixed at serving count with their own values, where these are known.
        """
        if ids is None:
            ids = np.zeros_like(self.fixed)
        kept = self.fixed == REQUESTED
        if as_logged:
            kept = kept | (ids != UNKNOWN)
        at = np.where(kept, ids, self.fixed)
        total: NDArray[np.float32] = np.stack([table[row] for table, row in zip(self.shifts, at, strict=True)]).sum(0)
        return total


def fixed_ids(encoder: FeatureEncoder) -> NDArray[np.int32]:
    """`fixed` of a ContextTables; UNKNOWN for a value that the log does not have."""
    return np.array([look_up_one(encoder.vocabularies[f"context.{field.name}"], field.serve_as.encode()) + 1
                     if field.serve_as else REQUESTED for field in encoder.spec.model_context], np.int32)
