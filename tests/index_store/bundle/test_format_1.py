"""The index of a bundle of format 1 against that of the same world in a later format."""

import numpy as np

from index_store.bundle.bundle import Bundle
from tests.paths import BUNDLES


def test_index_of_the_first_format_is_that_of_the_second_when_the_world_is_the_same():
    first, second = (Bundle.open(BUNDLES / version).content for version in ("v1", "v2"))
    assert (first.encoder.item_ids == second.encoder.item_ids).all()
    assert (first.index.starts == second.index.starts).all()
    for one, other in ((first.index.reach, second.index.reach), (first.keys_of_position.lists,
                                                                second.keys_of_position.lists),
                       *zip(first.postings, second.postings, strict=True)):
        np.testing.assert_array_equal(one.indptr, other.indptr)
        np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(first.index.weights, second.index.weights)
