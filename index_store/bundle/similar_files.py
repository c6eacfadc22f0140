"""Similar users in a bundle's files: what key families via `similar_users` read."""

from __future__ import annotations

import numpy as np

from index_store.bundle import layout
from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.features.encoder import FeatureEncoder
from index_store.features.similar_users import SimilarUsers


def write_similar(writer: BundleWriter, similar: SimilarUsers) -> None:
    """Writes the items of each user, the clickers of each item, and the weights of both."""
    writer.ragged(layout.SIMILAR_ITEMS, similar.items)
    writer.ragged(layout.SIMILAR_CLICKERS, similar.clickers)
    writer.array(layout.SIMILAR_WEIGHTS, similar.weights)
    writer.array(layout.SIMILAR_LENGTHS, similar.lengths)


def read_similar(files: BundleFiles, encoder: FeatureEncoder, users: int) -> SimilarUsers | None:
    """What was written; None if the declaration has no such family.

    Raises:
        BundleError: an array is missing or does not fit the others.
    """
    keys = [encoder.keys_of_family(family) for family in encoder.spec.key_families if family.via == "similar_users"]
    if not keys:
        return None
    return SimilarUsers(files.ragged(layout.SIMILAR_ITEMS, users, below=keys[0]),
                        files.ragged(layout.SIMILAR_CLICKERS, keys[0], below=users),
                        files.array(layout.SIMILAR_WEIGHTS, np.float32, (keys[0],)),
                        files.array(layout.SIMILAR_LENGTHS, np.float32, (users,)))
