"""Distillation of a bundle's scorer into inner products, by its exhaustive answers for users who are not asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from index_store.bundle.bundle import Bundle
from index_store.features.ragged import Ragged, expand_ranges
from index_store.features.user_keys import WEIGHT
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.ranking import first_task_weights
from index_store.targeting.eligibility import Eligible
from loadtest.rivals.distilled import Student, user_inputs
from loadtest.rivals.queries import encoded
from loadtest.rivals.searches import TOP_K
from model.progress.bars import Bar
from service.retrieval.retriever import Retriever

PAIRS, FEWEST_USERS, MOST_USERS = 60_000_000, 300, 3_000
"""Users who teach: as many as PAIRS allow to score all ads for, within these bounds."""

LEAST_USERS = 8
"""Fewer users than this are too few to train vectors with."""

DIM, HIDDEN = 128, 256
"""Width of the vectors, and of the hidden layer of a user's."""

EPOCHS, BATCH, OTHERS = 6, 32, 2_048
"""Passes over the users, users of a batch, and ads drawn beside those that an answer of the batch holds."""

LEARNING_RATE, WARM_UP = 1e-3, 30
"""Adam's, reached after so many batches, before the linear decay to zero."""

CHUNK = 1 << 15
"""Ads whose final vectors are computed at a time."""

LENGTH, SHARPNESS = 1.5, 0.2
"""Of the random key vectors that the training starts from, and what scores are multiplied by at the start."""


@dataclass(frozen=True)
class Lessons:
    """U users and what the scorer answers them.

    Attributes:
        inputs: (U, inputs) float32, see `user_inputs`.
        keys, weights: the keys of each user, and the weight of each of them.
        answers: (U, TOP_K) positions.
    """

    inputs: NDArray[np.float32]
    keys: Ragged
    weights: NDArray[np.float32]
    answers: NDArray[np.int64]


class _Network(nn.Module):
    """The student in training. Equal keys of a user and an item meet from the start; the rest begins at nothing.

    Args:
        users: inputs of a user.
        items: (n_items, F) what the scorer reads of the items.
        item_keys: their keys.
        keys: number of keys.
    """

    def __init__(self, users: int, items: Tensor, item_keys: Ragged, keys: int) -> None:
        super().__init__()
        self.items, self.item_keys = items, item_keys
        self.hidden, self.out = nn.Linear(users, HIDDEN), nn.Linear(HIDDEN, DIM)
        self.straight, self.shared = nn.Linear(users, DIM, bias=False), nn.Linear(items.shape[1], DIM)
        for begun_at_nothing in (self.out.weight, self.out.bias, self.straight.weight):
            nn.init.zeros_(begun_at_nothing)
        self.keys = nn.Parameter(torch.randn(keys, DIM) * (LENGTH / DIM**0.5))
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))

    def users(self, lessons: Lessons, chosen: NDArray[np.int64]) -> Tensor:
        """The vectors (B, D) of some users."""
        inputs, starts = torch.from_numpy(lessons.inputs[chosen]), lessons.keys.indptr[chosen]
        weights = lessons.weights[expand_ranges(starts, lessons.keys.indptr[chosen + 1] - starts)]
        found: Tensor = (self.out(torch.relu(self.hidden(inputs))) + self.straight(inputs)
                         + self._summed(lessons.keys.take(chosen), torch.from_numpy(weights)))
        return found

    def vectors(self, positions: NDArray[np.int64]) -> Tensor:
        """The vectors (C, D) of items."""
        found: Tensor = self.shared(self.items[torch.from_numpy(positions)]) + self._summed(
            self.item_keys.take(positions))
        return found

    def _summed(self, keys: Ragged, weights: Tensor | None = None) -> Tensor:
        return F.embedding_bag(torch.from_numpy(keys.values).long(), self.keys, torch.from_numpy(keys.indptr),
                               mode="sum", sparse=True, per_sample_weights=weights, include_last_offset=True)


def distil(opened: Bundle, asked: NDArray[np.integer], seed: int) -> Student | None:
    """A student of a bundle's scorer.

    Args:
        opened: the bundle.
        asked: rows of the users that will be asked, who teach nothing.
        seed: of the choice of the other users, and of the training.

    Returns:
        None if there are fewer than LEAST_USERS other users.
    """
    n, random = opened.content.tree.n_items, np.random.default_rng([seed, 2])
    others = random.permutation(np.setdiff1d(np.arange(len(opened.content.users.ids)), asked))
    if len(others) < LEAST_USERS:
        return None
    retriever = Retriever(opened)
    lessons = _lessons(opened, retriever, others[:int(np.clip(PAIRS // n, FEWEST_USERS, MOST_USERS))])
    torch.manual_seed(seed)
    network = _Network(lessons.inputs.shape[1], torch.from_numpy(_items(opened, retriever)), _item_keys(retriever),
                       retriever.scorer.n_keys)
    _train(network, lessons, random)
    return _student(network)


def _lessons(opened: Bundle, retriever: Retriever, users: NDArray[np.int64]) -> Lessons:
    """Users, and their best ads without those of their history."""
    tree, weights = opened.content.tree, first_task_weights(len(opened.manifest.tasks))
    queries, answers = [], np.empty((len(users), min(TOP_K, tree.n_items)), np.int64)
    for at, row in enumerate(Bar(users, desc="answers to distil", unit="user")):
        user = encoded(opened, row)
        queries.append(retriever.query(user))
        eligible = Eligible.of(tree.n_items, excluded=tree.position_of_row[user.history])
        best = ExhaustiveSearch(tree, retriever.scorer).search(queries[-1], top_k=TOP_K, task_weights=weights,
                                                               eligible=eligible).rows
        answers[at] = np.resize(tree.position_of_row[best], answers.shape[1])
    return Lessons(np.stack([user_inputs(query) for query in queries]).astype(np.float32),
                   Ragged.of([query.hits.keys for query in queries]),
                   np.concatenate([query.hits.values[:, WEIGHT] for query in queries]), answers)


def _items(opened: Bundle, retriever: Retriever) -> NDArray[np.float32]:
    """What the scorer reads of the items, by position: (n_items, F), spectral vectors at unit length on average."""
    parts = [np.asarray(opened.content.embeddings[-1], np.float32)]
    for spectral in retriever.scorer.spectral[-1:]:
        dense = spectral.dense()
        parts += [dense / max(float(np.sqrt(np.square(dense).sum(axis=1).mean())), 1e-12), spectral.popularity[:, None]]
    return np.concatenate(parts, axis=1)


def _item_keys(retriever: Retriever) -> Ragged:
    """The keys of each item in all families, by position."""
    keys = retriever.scorer.item_keys
    return Ragged(keys.lists.indptr[::keys.families], keys.lists.values)


def _train(network: _Network, lessons: Lessons, random: np.random.Generator) -> None:
    """Cross-entropy between a user's answer and the softmax over the answers of a batch and ads drawn at random."""
    dense = [parameter for name, parameter in network.named_parameters() if name != "keys"]
    optimizers = torch.optim.Adam(dense), torch.optim.SparseAdam([network.keys])
    answers, n, size = lessons.answers, len(network.items), min(BATCH, len(lessons.inputs))
    batches = len(answers) // size
    steps = EPOCHS * batches
    for step in Bar(range(steps), desc="distillation", unit="batch"):
        if step % batches == 0:
            order = random.permutation(len(answers))
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1, (step + 1) / WARM_UP) * (1 - step / steps)
            optimizer.zero_grad()
        chosen = order[step % batches * size:][:size]
        candidates = np.union1d(answers[chosen], random.integers(0, n, min(OTHERS, n)))
        share = np.zeros((size, len(candidates)), np.float32)
        np.add.at(share, (np.arange(size)[:, None], np.searchsorted(candidates, answers[chosen])),
                  1 / answers.shape[1])
        scores = network.sharpness * network.users(lessons, chosen) @ network.vectors(candidates).T
        F.cross_entropy(scores, torch.from_numpy(share)).backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()


@torch.no_grad()
def _student(network: _Network) -> Student:
    def array(tensor: Tensor) -> NDArray[np.float32]:
        found: NDArray[np.float32] = np.ascontiguousarray(tensor.detach().numpy())
        return found

    n = len(network.items)
    vectors = torch.cat([network.vectors(np.arange(first, min(first + CHUNK, n))) for first in range(0, n, CHUNK)])
    return Student(array(network.hidden.weight.T), array(network.hidden.bias), array(network.out.weight.T),
                   array(network.straight.weight.T), array(network.out.bias), array(network.keys), array(vectors))
