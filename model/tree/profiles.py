"""What the tree is learned on: score profiles, the scores that a sample of users gives to every item, and keys.

Two items belong under one node if the same users want both, by all that MoNN knows and not by the item tower alone: the
interaction features carry much of the score. A sample of users cannot tell apart the keys that none of them holds, so a
profile is joined by a signature of the item's keys. Measured against k-means on other inputs in `docs/experiments.md`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import ITEM_ID, FeatureSpec
from index_store.features.interaction import item_features
from index_store.features.postings import KeyIndex
from index_store.features.ragged import Ragged
from model.examples.batches import Reader
from model.examples.moments import Clicks
from model.tree.item_scores import ItemScores

PAIRS = 200_000_000
FEWEST_USERS, MOST_USERS = 128, 400
"""Users to ask: as many as PAIRS allow within these bounds."""

DIMENSIONS = 64
SIGNATURE = 32
"""Width of the signature of one field: keys get random directions, which are nearly orthogonal."""

TOP = 100
"""Items of a user's list in which the weight of a field's signature is counted."""


def profile_width(spec: FeatureSpec) -> int:
    """Largest width of `score_profiles`, where there are users enough to ask."""
    return DIMENSIONS + SIGNATURE * len({family.item_field for family in spec.key_families} - {ITEM_ID})


def score_profiles(reader: Reader, clicks: Clicks, index: KeyIndex, among: NDArray[np.integer],
                   seed: int) -> NDArray[np.float32]:
    """What is clustered of every item.

    First its profile, of unit length: how highly each of a sample of users ranks it, compressed. The value of
    (item, user) is -log(rank / n_items) by the first task's logit, so that the top of a ranking counts. Then,
    for each field of the key families but the item's id, the signature of the item's values, as long as the
    share of the sample's TOP lists whose items hold one of the user's keys in the field.

    Args:
        reader: of the model in eval mode.
        clicks: users' clicks; users without any are not asked.
        index: key families that leave out the users to ask.
        among: user rows to draw the sample from.
        seed: of the sample and of the signatures.

    Returns:
        (n_items, D) float32.
    """
    n = len(reader.dataset.items)
    asked = among[np.diff(clicks.indptr)[among] > 0]
    most = int(np.clip(PAIRS // n, FEWEST_USERS, MOST_USERS))
    asked = np.sort(np.random.default_rng([seed, 5]).permutation(asked)[:most])
    if len(asked) < 2:
        return reader.all_items()
    value = -np.log(np.arange(1, n + 1) / n).astype(np.float32)
    profiles = np.empty((n, len(asked)), np.float32)
    tops = np.empty((len(asked), min(TOP, n)), np.int64)

    def fill(column: int, scores: NDArray[np.float32]) -> None:
        order = np.argsort(-scores)
        profiles[order, column] = value
        tops[column] = order[:TOP]

    ItemScores(reader, clicks, index).each(asked, fill, "score profiles")
    parts = [_compressed(profiles)]
    for place, (name, share) in enumerate(_covered(reader, clicks, index, asked, tops).items()):
        if name != ITEM_ID:
            parts.append(share * _signature(reader.keys[name], np.random.default_rng([seed, 6, place])))
    return np.concatenate(parts, axis=1)


def _compressed(profiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first principal axes of (n_items, users), rows of unit length."""
    profiles -= profiles.mean(axis=0)
    _, axes = np.linalg.eigh(profiles.T @ profiles)
    compressed = profiles @ axes[:, ::-1][:, :DIMENSIONS]
    lengths = np.linalg.norm(compressed, axis=1, keepdims=True)
    return np.asarray(compressed / np.maximum(lengths, 1e-12), np.float32)


def _covered(reader: Reader, clicks: Clicks, index: KeyIndex, asked: NDArray[np.integer],
             tops: NDArray[np.int64]) -> Mapping[str, np.float32]:
    """Item field -> share of the top items (users, TOP) that hold a key of the user's in one of its families."""
    history = clicks.histories(asked, reader.spec.history_length)
    hits = reader.hits(reader.dataset.users.take(asked), history, index)
    features = item_features(hits, reader.keys_of_row, tops, np.zeros(index.n_keys, np.int32))
    held = features.reshape(tops.size, len(index.families), -1).max(axis=2) > 0
    fields = sorted({family.item_field for family in index.families})
    return {name: np.float32(held[:, [f.item_field == name for f in index.families]].any(axis=1).mean())
            for name in fields}


def _signature(keys: Ragged, random: np.random.Generator) -> NDArray[np.float32]:
    """A random direction of each item's values, or their sum, at unit length: (n_items, SIGNATURE)."""
    directions = random.normal(size=(int(keys.values.max(initial=0)) + 1, SIGNATURE)).astype(np.float32)
    signatures = np.zeros((len(keys), SIGNATURE), np.float32)
    filled = np.flatnonzero(keys.lengths)
    if len(filled):
        signatures[filled] = np.add.reduceat(directions[keys.values], keys.indptr[filled], axis=0)
    lengths = np.linalg.norm(signatures, axis=1, keepdims=True)
    unit: NDArray[np.float32] = signatures / np.maximum(lengths, np.float32(1e-12))
    return unit
