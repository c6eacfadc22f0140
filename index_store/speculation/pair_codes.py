"""Codes of pairs: the interaction embedding of a foundation model in a few bytes, by a linear autoencoder.

The encoder keeps the principal components of the embedding, the best that any linear autoencoder of that width can do;
the decoder multiplies by the steps. The foundation's logits go beside them as their distance from the served model's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST = 127
"""Largest absolute code."""


@dataclass(frozen=True, eq=False)
class PairCodes:
    """The autoencoder.

    Attributes:
        mean: (H,) float32 of the interaction embedding.
        axes: (H, D) float32, its principal components.
        steps: (T + D,) float32, what a code of 1 stands for: of the T residuals, then of the D components.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    steps: NDArray[np.float32]

    @property
    def width(self) -> int:
        """Bytes of a pair."""
        return len(self.steps)

    def encoded(self, residuals: NDArray[np.float32], embeddings: NDArray[np.float32]) -> NDArray[np.int8]:
        """Codes (N, T + D) of N pairs; what lies beyond the largest code becomes that.

        Args:
            residuals: (N, T) logits of the foundation model less those of the served one.
            embeddings: (N, H) interaction embeddings.
        """
        values = np.concatenate([residuals, (embeddings - self.mean) @ self.axes], axis=1)
        return np.clip(np.rint(values / self.steps), -MOST, MOST).astype(np.int8)

    def decoded(self, codes: NDArray[np.int8]) -> NDArray[np.float32]:
        """Values (N, T + D) float32 of codes."""
        return codes * self.steps
