"""Score profiles: the vectors that k-means clusters into a tree.

Two items belong under one node if the same users score both highly, by the whole of MoNN and not by the item tower
alone: interaction features carry much of the score. A sample of users cannot distinguish keys that none of them holds,
so a signature of the item's keys is appended to its profile. `docs/experiments.md` compares k-means on other inputs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from index_store.declaration.spec import ITEM_ID, FeatureSpec
from index_store.features.interaction import item_features
from index_store.features.postings import KeyIndex
from index_store.features.signature import WIDTH, directions, signatures
from model.examples.batches import BatchReader
from model.examples.clicks import Clicks
from model.progress.range_workers import HERE, RangeWorkers, Worker
from model.progress.ranges import Range, RangeFiles, ranges_of
from model.tree.item_scores import ItemScores

PAIRS = 200_000_000
FEWEST_USERS, MOST_USERS = 128, 400
"""Size of the sample of users: as many as PAIRS allow within these bounds."""

DIMENSIONS = 64

USERS_A_FILE = 8
"""Users whose ranks are in one file."""

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


def score_profiles(reader: BatchReader, users: ProfileUsers, seed: int, folder: Path,
                   workers: RangeWorkers = HERE) -> NDArray[np.floating]:
    """The vectors of all items, to be clustered.

    First an item's profile, of unit length: how highly each user of a sample ranks it, compressed. The value of
    (item, user) is -log(rank / n_items) by the first task's logit, which stresses the top of a ranking. Then, for each
    field of the key families except the item's id, the signature of the item's values, whose length is the share of
    the sample's TOP lists whose items hold one of the user's keys in the field.

    Args:
        reader: of the model in eval mode.
        users: to sample from; with fewer than two active users the item embeddings take the profiles' place.
        seed: of the sample and of the signatures.
        folder: for scores, ranks and vectors. What an interrupted call left there of scores and ranks, which take most
            of the time, is used; the caller deletes the folder once the tree is learned.
        workers: who scores ranges of items.

    Returns:
        (n_items, D) float16, memory-mapped; float32 if they are the item embeddings.
    """
    n = len(reader.dataset.items)
    sample = users.sample(int(np.clip(PAIRS // n, FEWEST_USERS, MOST_USERS)), seed)
    if len(sample) < 2:
        return reader.all_items()
    scores = _scores(reader, users, sample, folder / "scores", workers)
    values = _ranked(scores, len(sample), n, folder / "ranks")
    axes, signed = _axes(values, scores.ranges), []
    for place, (name, share) in enumerate(_shares_of_fields(reader, users, sample, _tops(values, n)).items()):
        if name != ITEM_ID:
            keys = reader.keys[name]
            of_key = directions(int(keys.values.max(initial=0)) + 1, np.random.default_rng([seed, 6, place]))
            signed.append((share, keys, of_key))
    width = min(DIMENSIONS, len(sample)) + WIDTH * len(signed)
    vectors = open_memmap(folder / "vectors.npy", "w+", np.float16, (n, width))
    for items in scores.ranges:
        parts = [_compressed(_centred(values, items), axes)]
        parts += [share * signatures(keys.take(np.arange(items.first, items.end)), of_key)
                  for share, keys, of_key in signed]
        vectors[items.rows] = np.concatenate(parts, axis=1)
    return vectors


@dataclass(frozen=True)
class _ScoresOfRange:
    """The scores (users, R) float32 of a sample of users in a range of items, as `Work`."""

    scores: ItemScores
    sample: NDArray[np.integer]

    def __call__(self, items: Range, worker: Worker) -> NDArray[np.float32]:
        found = np.empty((len(self.sample), len(items)), np.float32)
        self.scores.range(items, self.sample, found.__setitem__, worker)
        return found


def _scores(reader: BatchReader, users: ProfileUsers, sample: NDArray[np.integer], folder: Path,
            workers: RangeWorkers) -> RangeFiles:
    """The scores of the sample's users, (users, R) float32 a range of items."""
    work = _ScoresOfRange(ItemScores(reader, users.clicks, users.index), sample)
    files = RangeFiles(folder, _key(reader, users, sample), work.scores.ranges)
    files.make(lambda missing: workers.results(work, missing), "score profiles")
    return files


def _key(reader: BatchReader, users: ProfileUsers, sample: NDArray[np.integer]) -> str:
    """Of the weights, and of what they read in the log, which may be another one when an interrupted call goes on."""
    histories, keys, index = users.clicks.histories(sample), reader.keys_of_row.lists, users.index
    arrays = [sample, histories.indptr, histories.values, keys.indptr, keys.values, index.reach.values, index.weights]
    key = sha256()
    for array in (*arrays, *(tensor.cpu().numpy() for tensor in reader.model.state_dict().values())):
        key.update(np.ascontiguousarray(array).data)
    return key.hexdigest()


def _ranked(scores: RangeFiles, users: int, n: int, folder: Path) -> RangeFiles:
    """The values of the scores, (U, n_items) float16 a range of users."""
    value = -np.log(np.arange(1, n + 1) / n).astype(np.float16)

    def rank(some: Range) -> NDArray[np.float16]:
        values = np.empty((len(some), n), np.float16)

        def one(place: int) -> None:
            # Files are mapped anew each time, for what is mapped and read counts as this process's memory.
            own = np.concatenate([scores[number][some.first + place] for number in range(len(scores))])
            values[place, np.argsort(-own)] = value

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(one, range(len(some))))
        return values

    files = RangeFiles(folder, scores.key, ranges_of(users, USERS_A_FILE))
    files.make(lambda missing: map(rank, missing), "ranks", "user")
    return files


def _tops(values: RangeFiles, n: int) -> NDArray[np.int64]:
    """The TOP items of each user, in no particular order (users, TOP)."""
    most = min(TOP, n)
    least = np.float16(-np.log(most / n))
    return np.stack([np.flatnonzero(row >= least)[:most] for own in values for row in own])


def _centred(values: RangeFiles, items: Range) -> NDArray[np.float32]:
    """The values (R, users) of a range of items, less their mean, which is that of any user."""
    found: NDArray[np.float32] = np.concatenate([own[:, items.rows] for own in values]).T.astype(np.float32)
    found -= np.float32(values[0][0].mean(dtype=np.float64))
    return found


def _axes(values: RangeFiles, ranges: Sequence[Range]) -> NDArray[np.float32]:
    """The first principal axes of the values (users, DIMENSIONS)."""
    squares: NDArray[np.float64] = np.zeros(())
    for items in ranges:
        profiles = _centred(values, items)
        squares = squares + profiles.T @ profiles
    return np.ascontiguousarray(np.linalg.eigh(squares)[1][:, ::-1][:, :DIMENSIONS], np.float32)


def _compressed(profiles: NDArray[np.float32], axes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Profiles (R, users) along the axes, rows of unit length."""
    compressed = profiles @ axes
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
