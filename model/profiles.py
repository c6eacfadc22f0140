"""What the tree is learned on: score profiles, the scores that a sample of users gives to every item.

Two items belong under one node if the same users want both, by all that MoNN knows and not by the item tower alone: the
interaction features carry much of the score. Measured against k-means on item-tower outputs in `docs/experiments.md`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from index_store.postings import FamilyIndex
from model.batches import Reader
from model.examples import Clicks

PROFILE_PAIRS = 8_000_000
MOST_USERS = 400
DIMENSIONS = 64
_BATCH_PAIRS = 200_000


def score_profiles(reader: Reader, clicks: Clicks, families: tuple[FamilyIndex, ...], among: NDArray[np.integer],
                   seed: int) -> NDArray[np.float32]:
    """Profiles of all items: how highly each of a sample of users ranks the item, compressed.

    The value of (item, user) is -log(rank / n_items) by the first task's logit, so that the top of a ranking counts.

    Args:
        reader: of the model in eval mode.
        clicks: users' clicks; users without any are not asked.
        families: key families that leave out the users to ask.
        among: user rows to draw the sample from.
        seed: of the sample.

    Returns:
        (n_items, up to DIMENSIONS) float32, rows of unit length.
    """
    n = len(reader.dataset.items)
    asked = among[np.diff(clicks.indptr)[among] > 0]
    most = int(np.clip(PROFILE_PAIRS // n, 32, MOST_USERS))
    asked = np.sort(np.random.default_rng([seed, 5]).permutation(asked)[:most])
    if len(asked) < 2:
        return reader.all_items()
    rows = np.arange(n)
    items = torch.from_numpy(reader.all_items()).to(reader.device)
    profiles = np.empty((n, len(asked)), np.float32)
    value = -np.log((rows + 1) / n).astype(np.float32)
    chunk = max(1, _BATCH_PAIRS // n)
    for start in range(0, len(asked), chunk):
        chosen = asked[start : start + chunk]
        history = clicks.histories(chosen, reader.spec.history_length)
        with torch.no_grad():
            users = reader.users(reader.dataset.users.take(chosen), history, families)
            scores = reader.score_items(users, families, rows, items)[..., 0].cpu().numpy()
        order = np.argsort(-scores, axis=1, kind="stable")
        profiles[order.T, np.arange(start, start + len(chosen))] = value[:, None]
    profiles -= profiles.mean(axis=0)
    _, axes = np.linalg.eigh(profiles.T @ profiles)
    compressed = profiles @ axes[:, ::-1][:, :DIMENSIONS]
    lengths = np.linalg.norm(compressed, axis=1, keepdims=True)
    return np.ascontiguousarray(compressed / np.maximum(lengths, 1e-12), np.float32)
