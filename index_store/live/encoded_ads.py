"""Encoded ads: all that search and targeting read of some ads, but for their ids and predicates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import Features
from index_store.features.postings import ItemKeys
from index_store.features.spectral_vectors import SpectralVectors
from index_store.live.growing_arrays import GrowingArray, GrowingRagged
from index_store.search.scoring import Storage


@dataclass(frozen=True, eq=False, kw_only=True)
class EncodedAds:
    """J ads.

    Attributes:
        features: of each.
        keys: of each.
        embeddings: (J, Di) outputs of the item tower, as the bundle stores them.
        spectral: vectors of each, one entry; empty in a bundle without spectral towers.
        leaves: (J, P) int32 leaf nodes that each is listed under, the nearest first.
    """

    features: Features
    keys: ItemKeys
    embeddings: Storage
    spectral: tuple[SpectralVectors, ...]
    leaves: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.leaves)


class GrowingAds:
    """Encoded ads that more are added to.

    Args:
        ads: the first ones.
    """

    def __init__(self, ads: EncodedAds) -> None:
        self._families = ads.keys.families
        self._arrays = [GrowingArray(array) for array in _arrays(ads)]
        self._ragged = [GrowingRagged(ads.keys.lists), *map(GrowingRagged, ads.features.multi)]

    def append(self, ads: EncodedAds) -> None:
        """Adds ads."""
        for growing, array in zip(self._arrays, _arrays(ads), strict=True):
            growing.append(array)
        for lists, more in zip(self._ragged, (ads.keys.lists, *ads.features.multi), strict=True):
            lists.append(more)

    def head(self, count: int) -> EncodedAds:
        """A view of the first ads."""
        dense, categorical, embeddings, leaves, *spectral = (growing.head(count) for growing in self._arrays)
        keys, *multi = self._ragged
        return EncodedAds(
            features=Features(dense, categorical, tuple(lists.head(count) for lists in multi)),
            keys=ItemKeys(self._families, keys.head(count * self._families)), embeddings=embeddings,
            spectral=(SpectralVectors(*spectral),) if spectral else (), leaves=leaves)


def _arrays(ads: EncodedAds) -> list[NDArray[np.generic]]:
    spectral = [array for one in ads.spectral for array in one.arrays]
    return [ads.features.dense, ads.features.categorical, ads.embeddings, ads.leaves, *spectral]
