"""What users think of every item: all items scored for one user after the other, in memory that a block needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from index_store.postings import KeyIndex
from index_store.scoring import DenseLayers, Storage, TowerScorer, UserQuery
from model.batches import Reader
from model.examples import Clicks
from model.split import SplitScorer, split


class ItemScores:
    """Scores of all items by the first task, with the split form of the model.

    Args:
        reader: of the model in eval mode.
        clicks: users' clicks, their histories.
        index: key families.
    """

    def __init__(self, reader: Reader, clicks: Clicks, index: KeyIndex) -> None:
        self._reader, self._clicks, self._index = reader, clicks, index
        self._split = split(reader.model)
        with torch.no_grad():
            items = self._split.item_part(torch.from_numpy(reader.all_items()).to(reader.device)).cpu().numpy()
        layers = split_layers(self._split, reader.device)
        self._scorer = TowerScorer(layers, (items,), (), reader.keys_of_row, index.n_keys)
        self._rows = np.arange(len(items))

    def of(self, user: int) -> NDArray[np.float32]:
        """Scores of a user row: (n_items,) float32 by item row."""
        reader, one = self._reader, np.array([user])
        with torch.no_grad():
            batch = reader.users(reader.dataset.users.take(one),
                                 self._clicks.histories(one, reader.spec.history_length), self._index)
            query = UserQuery(self._split.user_part(batch.embeddings).cpu().numpy(), batch.hits)
            return self._scorer.score(query, 1, self._rows)[:, 0]

    def each(self, users: Sequence[int] | NDArray[np.integer], take: Callable[[int, NDArray[np.float32]], None],
             what: str) -> None:
        """Calls `take(place in users, scores)` for every user, from several threads at once and in any order."""
        def score(place: int) -> None:
            take(place, self.of(int(users[place])))

        with _one_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in tqdm(pool.map(score, range(len(users))), total=len(users), desc=what, unit="user", leave=False):
                pass


def split_layers(scorer: SplitScorer, device: torch.device) -> DenseLayers:
    """The split form of a model as a function."""

    def run(user: NDArray[np.float32], items: Storage, interaction: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = (torch.from_numpy(part).to(device) for part in (user, items, interaction))
        with torch.no_grad():
            logits: NDArray[np.float32] = scorer(*parts).cpu().numpy()
        return logits

    return run


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread a call, while the calls come from several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
