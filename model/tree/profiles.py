"""Score profiles: the vectors that k-means clusters into a tree.

Two items belong under one node if the same users score both highly, by the whole of MoNN and not by the item tower
alone: interaction features carry much of the score. A sample of users cannot distinguish keys that none of them holds,
so a signature of the item's keys is appended to its profile. `docs/experiments.md` compares k-means on other inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.interaction import item_features
from index_store.features.postings import KeyIndex
from index_store.features.signature import WIDTH, directions, signatures
from index_store.features.spec import ITEM_ID, FeatureSpec
from model.examples.batches import BatchReader
from model.examples.clicks import Clicks
from model.tree.item_scores import ItemScores

PAIRS = 200_000_000
FEWEST_USERS, MOST_USERS = 128, 400
"""Size of the sample of users: as many as PAIRS allow within these bounds."""

DIMENSIONS = 64

TOP = 100
"""Items of a user's list in which the weight of a field's signature is counted."""


@dataclass(frozen=True)
class ProfileUsers:
    """Users to draw the sample from.

    Attributes:
        clicks: of all users; users without any are not drawn.
        index: key index of these clicks.
        rows: user rows.
    """

    clicks: Clicks
    index: KeyIndex
    rows: NDArray[np.integer]

    def sample(self, most: int, seed: int) -> NDArray[np.integer]:
        """At most `most` of the rows, ascending."""
        active = self.rows[np.diff(self.clicks.indptr)[self.rows] > 0]
        return np.sort(np.random.default_rng([seed, 5]).permutation(active)[:most])


def profile_width(spec: FeatureSpec) -> int:
    """Largest width of `score_profiles`."""
    return DIMENSIONS + WIDTH * len({family.item_field for family in spec.key_families} - {ITEM_ID})


def score_profiles(reader: BatchReader, users: ProfileUsers, seed: int) -> NDArray[np.float32]:
    """The vectors of all items, to be clustered.

    First an item's profile, of unit length: how highly each user of a sample ranks it, compressed. The value of
    (item, user) is -log(rank / n_items) by the first task's logit, which stresses the top of a ranking. Then, for each
    field of the key families except the item's id, the signature of the item's values, whose length is the share of
    the sample's TOP lists whose items hold one of the user's keys in the field.

    Args:
        reader: of the model in eval mode.
        users: to sample from; with fewer than two active users the item embeddings take the profiles' place.
        seed: of the sample and of the signatures.

    Returns:
        (n_items, D) float32.
    """
    n = len(reader.dataset.items)
    sample = users.sample(int(np.clip(PAIRS // n, FEWEST_USERS, MOST_USERS)), seed)
    if len(sample) < 2:
        return reader.all_items()
    value = -np.log(np.arange(1, n + 1) / n).astype(np.float32)
    profiles = np.empty((n, len(sample)), np.float32)
    tops = np.empty((len(sample), min(TOP, n)), np.int64)

    def fill(column: int, scores: NDArray[np.float32]) -> None:
        order = np.argsort(-scores)
        profiles[order, column] = value
        tops[column] = order[:TOP]

    ItemScores(reader, users.clicks, users.index).each(sample, fill, "score profiles")
    parts = [_compressed(profiles)]
    for place, (name, share) in enumerate(_shares_of_fields(reader, users, sample, tops).items()):
        if name != ITEM_ID:
            keys = reader.keys[name]
            of_key = directions(int(keys.values.max(initial=0)) + 1, np.random.default_rng([seed, 6, place]))
            parts.append(share * signatures(keys, of_key))
    return np.concatenate(parts, axis=1)


def _compressed(profiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first principal axes of (n_items, users), rows of unit length."""
    profiles -= profiles.mean(axis=0)
    _, axes = np.linalg.eigh(profiles.T @ profiles)
    compressed = profiles @ axes[:, ::-1][:, :DIMENSIONS]
    lengths = np.linalg.norm(compressed, axis=1, keepdims=True)
    return np.asarray(compressed / np.maximum(lengths, 1e-12), np.float32)


def _shares_of_fields(reader: BatchReader, users: ProfileUsers, sample: NDArray[np.integer],
                      tops: NDArray[np.int64]) -> Mapping[str, np.float32]:
    """Item field -> share of the top items (users, TOP) that hold a key of their user in one of its families."""
    index = users.index
    history = users.clicks.histories(sample)
    hits = reader.hits(reader.dataset.users.take(sample), history, index)
    features = item_features(hits, reader.keys_of_row, tops, np.zeros(index.n_keys, np.int32))
    held = features.reshape(tops.size, len(index.families), -1).max(axis=2) > 0
    fields = sorted({family.item_field for family in index.families})
    return {name: np.float32(held[:, [f.item_field == name for f in index.families]].any(axis=1).mean())
            for name in fields}
