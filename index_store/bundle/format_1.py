"""Format version 1: reads the key index of bundles that stored the postings of each key family separately."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from index_store.bundle.files import BundleFiles
from index_store.declaration.spec import KeyFamily
from index_store.features.encoder import FeatureEncoder
from index_store.features.postings import FamilyReach, ItemKeys, KeyIndex
from index_store.features.ragged import Ragged
from index_store.tree.tree import Tree


def read_index(files: BundleFiles, encoder: FeatureEncoder, tree: Tree,
               item_fields: Mapping[str, Ragged]) -> tuple[KeyIndex, ItemKeys, tuple[Ragged, ...]]:
    """The key index, joined in memory; later versions map it from files."""
    families = encoder.spec.key_families
    index = KeyIndex.of(families, [_reach(files, family, encoder) for family in families])
    item_keys = ItemKeys.of(families, index.starts, item_fields)
    # The keys of the families follow one another, and so do their lists.
    postings = tuple(Ragged.concatenated([files.ragged(f"postings/{family.name}.level_{level}",
                                                       encoder.keys_of_family(family), below=tree.size(level))
                                          for family in families]) for level in range(1, tree.depth))
    return index, item_keys.take(tree.rows), postings


def _reach(files: BundleFiles, family: KeyFamily, encoder: FeatureEncoder) -> FamilyReach:
    n_keys = encoder.keys_of_family(family)
    if family.via == "match":
        idf = files.array(f"postings/{family.name}.idf.npy", np.float32, (n_keys,))
        return FamilyReach.matching(encoder.matched_keys(family), idf)
    neighbours = files.ragged(f"postings/{family.name}.neighbours", n_keys)
    weights = files.array(f"postings/{family.name}.weights.npy", np.float32, (len(neighbours.values),))
    return FamilyReach(n_keys, neighbours, weights)
