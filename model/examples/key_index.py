"""The key index of a data set: matches between fields, and co-click counts and spectral towers of some clicks."""

from __future__ import annotations

import numpy as np

from index_store.declaration.spec import ITEM_ID
from index_store.features.postings import FamilyReach, KeyIndex, idf
from index_store.features.similar_users import SimilarUsers
from index_store.features.tower_inputs import all_item_keys
from model.data.load import Dataset
from model.examples.clicks import Clicks
from model.examples.co_click import co_click
from model.examples.spectral import spectral_towers


def key_index(dataset: Dataset, clicks: Clicks) -> KeyIndex:
    """The key families of a data set, with the co-clicks and spectral towers of some clicks."""
    fields = all_item_keys(dataset.spec, dataset.items)
    histories = clicks.histories(np.arange(len(dataset.user_ids)))
    reaches, similar = [], None
    for family in dataset.spec.key_families:
        of_items, n_keys = fields[family.item_field], dataset.encoder.keys_of_family(family)
        if family.via == "similar_users":
            reaches.append(FamilyReach.nothing(n_keys))
            similar = SimilarUsers.of(histories.with_values(fields[ITEM_ID].values[histories.values]), n_keys)
        elif family.via == "co_click":
            reaches.append(FamilyReach(n_keys, *co_click(histories, of_items, n_keys, family.neighbours,
                                                         by_regression=family.item_field == ITEM_ID)))
        else:
            reaches.append(FamilyReach.matching(dataset.encoder.matched_keys(family), idf(of_items, n_keys)))
    return KeyIndex.of(dataset.spec.key_families, reaches, spectral_towers(histories, len(dataset.items), seed=0),
                       similar)
