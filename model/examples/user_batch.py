"""The users of a batch, before and after the network, and their pairs with items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from index_store.features.encoder import UNKNOWN, Features
from index_store.features.postings import KeyIndex
from index_store.features.ragged import Ragged
from index_store.features.spectral import SpectralQueries
from index_store.features.user_keys import KeyHits
from model.network.monn import MoNN


@dataclass(frozen=True)
class UserFeatures:
    """The B users of a batch before the network, which takes no weights to compute.

    Attributes:
        dense, bags: inputs of the user tower.
        hits, spectral, index: what interaction features are computed from.
    """

    dense: NDArray[np.float32]
    bags: Mapping[str, Ragged]
    hits: KeyHits
    spectral: SpectralQueries
    index: KeyIndex

    def part(self, users: slice) -> Self:
        """Some of the users."""
        return replace(self, dense=self.dense[users], bags={name: bag.part(users) for name, bag in self.bags.items()},
                       hits=self.hits.part(users), spectral=self.spectral.part(users))


@dataclass(frozen=True)
class UserBatch(UserFeatures):
    """The B users of a batch with their embeddings (B, Du)."""

    embeddings: Tensor

    def part(self, users: slice) -> Self:
        """Some of the users."""
        return replace(super().part(users), embeddings=self.embeddings[users])


@dataclass(frozen=True)
class Pairs:
    """S pairs of a user of a batch and an item.

    Attributes:
        users: B users.
        owners: (S,) the user of each pair, ascending.
        embeddings: (S, Du) of the pairs' users, each in the context of its pair.
        rows: (S,) of the items.
        items: (S, Di) their embeddings.
    """

    users: UserBatch
    owners: NDArray[np.int64]
    embeddings: Tensor
    rows: NDArray[np.integer]
    items: Tensor

    def score(self, model: MoNN, candidates: Tensor, features: Tensor, level: int | None, *,
              windows: bool = False) -> Tensor:
        """Task logits (S, tasks) of the users with candidates (S, Di), given interaction features (S, F).

        The level is that of the scorer, None for the one of items; `windows` as in `MoNN.score`.
        """
        return model.score(self.embeddings, candidates[:, None], features[:, None], level=level, windows=windows)[:, 0]

    def score_both(self, model: MoNN, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (S, tasks) of the pairs by the items' layer, given interaction features (S, F): main and auxiliary."""
        main, other = model.layer(-1).score_both(*model.scorer_inputs(model.scorer_of(None), self.embeddings,
                                                                      self.items[:, None]), features[:, None])
        return main[:, 0], other[:, 0]


def as_unknown(features: Features, history: Ragged, chosen: NDArray[np.bool_],
               unknown: NDArray[np.float32]) -> tuple[Features, Ragged]:
    """The batch with the chosen users replaced by unknown ones, without fields or a history.

    Args:
        features, history: B users.
        chosen: (B,).
        unknown: (1, dense fields) those of an unknown user.
    """
    keep = ~chosen
    multi = tuple(_emptied(lists, keep) for lists in features.multi)
    return (Features(np.where(keep[:, None], features.dense, unknown),
                     np.where(keep[:, None], features.categorical, np.int32(UNKNOWN)), multi), _emptied(history, keep))


def _emptied(lists: Ragged, keep: NDArray[np.bool_]) -> Ragged:
    return Ragged.of_lengths(lists.lengths * keep, lists.values[np.repeat(keep, lists.lengths)])
