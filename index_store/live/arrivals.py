"""Arrivals: encodes the features of new and changed ads for one bundle, as its export encoded those that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import BundleContent
from index_store.declaration.spec import ITEM_ID
from index_store.features.encoder import UNKNOWN, Features
from index_store.features.postings import ItemKeys
from index_store.features.ragged import Ragged
from index_store.features.spectral_vectors import SpectralVectors
from index_store.features.tower_inputs import all_item_keys, dense_inputs, item_bags, pool
from index_store.features.vocabulary import look_up
from index_store.live.encoded_ads import EncodedAds
from index_store.live.placement import Placement
from index_store.search.scoring import AddedItems, Storage
from index_store.tree.placed_items import PlacedItems


class Arrivals:
    """Encodes ads.

    Args:
        content: of the bundle.
        item_tower: (J, D_in) float32 -> outputs (J, Di) of its item tower.
        placement: makes what places ads in its tree; called once, when the first one arrives.
    """

    def __init__(self, content: BundleContent, item_tower: Callable[[NDArray[np.float32]], Storage],
                 placement: Callable[[], Placement]) -> None:
        self._content, self._item_tower, self._make_placement = content, item_tower, placement

    def prepare(self) -> None:
        """Makes ready to place ads, which takes a while; otherwise the first one has to wait for it."""
        _ = self._placement

    def features(self, raw: Mapping[str, Any]) -> Features:
        """The encoded features of one ad.

        Raises:
            FeatureError: a field is unknown, missing or invalid.
        """
        return self._content.encoder.encode_item(raw)

    def differ(self, row: int, features: Features) -> bool:
        """Whether features of one row differ from those of the bundle's ad at an item row."""
        return not equal(self._content.items.take(np.array([row])), features)

    def encode(self, ad_ids: Sequence[bytes], features: Sequence[Features]) -> EncodedAds:
        """Encodes ads (J,), placed in the tree.

        Args:
            ad_ids: of each.
            features: of each, one row.
        """
        content, joined = self._content, _joined(features)
        spec, index = content.encoder.spec, content.index
        known = look_up(content.encoder.item_ids, np.array(ad_ids))
        fields = all_item_keys(spec, joined)
        fields[ITEM_ID] = Ragged.singles(np.where(known < 0, UNKNOWN, known + 1))
        bags = item_bags(spec, np.arange(len(ad_ids)), fields)
        embeddings = self._item_tower(pool(content.tables, dense_inputs(spec, "item", joined.dense), bags))
        if content.embeddings[-1].dtype == np.float16:
            embeddings = embeddings.astype(np.float16)
        keys = ItemKeys.of(index.families, index.starts, fields)
        spectral = self._spectral(known)
        nowhere = PlacedItems(content.tree, np.zeros((len(ad_ids), 0), np.int32))
        leaves = self._placement.leaves(AddedItems(nowhere, embeddings, keys, spectral))
        return EncodedAds(features=joined, keys=keys, embeddings=embeddings, spectral=spectral, leaves=leaves)

    def _spectral(self, rows: NDArray[np.int64]) -> tuple[SpectralVectors, ...]:
        """Vectors of item rows (J,); those of an ad that the bundle lacks are zero, as are those without clicks."""
        if self._content.index.spectral is None:
            return ()
        known, items = rows >= 0, self._content.index.spectral.items
        found = items.take(self._content.tree.position_of_row[rows])
        return (SpectralVectors(found.values, found.steps * known, found.tail, found.tail_steps * known,
                                found.popularity * known),)

    @cached_property
    def _placement(self) -> Placement:
        return self._make_placement()


def equal(one: Features, other: Features) -> bool:
    """Whether features of as many rows are the same."""
    return (np.array_equal(one.dense, other.dense, equal_nan=True)
            and np.array_equal(one.categorical, other.categorical)
            and all(np.array_equal(a.indptr, b.indptr) and np.array_equal(a.values, b.values)
                    for a, b in zip(one.multi, other.multi, strict=True)))


def _joined(features: Sequence[Features]) -> Features:
    """Features of one row each as one table."""
    return Features(np.concatenate([one.dense for one in features]),
                    np.concatenate([one.categorical for one in features]),
                    tuple(Ragged.concatenated(lists) for lists in zip(*(one.multi for one in features), strict=True)))
