"""The adapter: what the codes of a pair add to the served model's logits, on each rung of the ladder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index_store.speculation.pair_codes import PairCodes

Rung = Literal["pair", "user"]
"""What stands for a pair: the pair itself, or the mean of its user's pairs. On the rung below, with nothing known of
the user, nothing is added."""

RUNGS: tuple[Rung, ...] = ("pair", "user")


@dataclass(frozen=True, eq=False)
class Adapter:
    """Linear in the codes' values, with weights of its own for each rung: a one-hot of the rung that meets all inputs.

    Attributes:
        weights: (rungs, T + D, T) float32.
        bias: (rungs, T) float32.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def added(self, rung: Rung, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is added to the logits of N pairs: (N, T) float32 of values (N, T + D)."""
        at = RUNGS.index(rung)
        found: NDArray[np.float32] = values @ self.weights[at] + self.bias[at]
        return found


@dataclass(frozen=True, eq=False)
class Speculation:
    """What a bundle holds to use the pairs of a foundation model.

    Attributes:
        foundation: hash of the foundation model that autoencoder and adapter were fitted to.
        codes, adapter: fitted to it.
    """

    foundation: str
    codes: PairCodes
    adapter: Adapter
