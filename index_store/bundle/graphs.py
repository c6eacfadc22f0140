"""The ONNX graphs of a bundle: names of their inputs and outputs, and how closely they must match the torch model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

USER_INPUT, USER_EMBEDDING = "user_input", "user_embedding"
"""Input and output of the user tower: (N, D_in) -> (N, Du) float32."""

ITEM_INPUT, ITEM_EMBEDDING = "item_input", "item_embedding"
"""Input and output of the item tower: (N, D_in) -> (N, Di) float32."""

ITEM_EMBEDDINGS, INTERACTION, LOGITS = "item_embeddings", "interaction", "logits"
"""Inputs of a scorer besides USER_EMBEDDING (1, Du): (C, Di) float32 or float16 and (C, F); output (C, tasks)."""

SCORER_INPUTS = (USER_EMBEDDING, ITEM_EMBEDDINGS, INTERACTION)

PAIR_OUTPUTS = "pair_outputs"
"""Output of the graph of a foundation model, with the inputs of a scorer: (C, tasks + H), logits and embedding."""

SCORE_TOLERANCE = 1e-4
HALF_SCORE_TOLERANCE = 1e-2
"""Largest `score_gaps` of logits or scores to the torch model's, with embeddings stored as float32 or float16."""


def scorer_inputs(user: NDArray[Any], items: NDArray[Any], interaction: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Inputs of a scorer by name: user (1, Du), items (C, Di), interaction (C, F)."""
    return dict(zip(SCORER_INPUTS, (user, items, interaction), strict=True))


def score_gaps(scores: ArrayLike, expected: ArrayLike) -> NDArray[np.float64]:
    """Differences of scores from what is expected of them; beyond 1 as a share of that, since floats round to a share.

    Logits of MoNN are of a few units; inner products of two towers have no such bound.

    Args:
        scores, expected: of the same shape.
    """
    wanted = np.asarray(expected, np.float64)
    return np.abs(np.asarray(scores, np.float64) - wanted) / np.maximum(1.0, np.abs(wanted))


def score_tolerance(embeddings: NDArray[Any]) -> float:
    """Largest `score_gaps`, by the type that embeddings are stored as."""
    return SCORE_TOLERANCE if embeddings.dtype == np.float32 else HALF_SCORE_TOLERANCE
