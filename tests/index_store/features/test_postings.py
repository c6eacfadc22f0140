"""The inverted index of keys against plain lists."""

import math

import numpy as np
from hypothesis import given, settings

from index_store.declaration.spec import KeyFamily
from index_store.features.postings import FamilyReach, ItemKeys, KeyIndex, idf, key_postings
from index_store.features.ragged import Ragged
from tests.index_store.features.catalogues import catalogues


@settings(max_examples=60, deadline=None)
@given(catalogues())
def test_postings_list_the_nodes_of_a_key_once_when_members_share_it(catalogue):
    tree, starts = catalogue.tree, catalogue.index.starts
    node_of_row = tree.node_of_position(1)[tree.position_of_row]
    found = key_postings(catalogue.item_keys, catalogue.index, node_of_row)
    for f, family in enumerate(catalogue.spec.key_families):
        held = catalogue.fields[family.item_field]
        for key in range(catalogue.reaches[f].n_keys):
            holders = {int(node_of_row[row]) for row in range(len(held)) if key in held.row(row)}
            assert found.row(starts[f] + key).tolist() == (sorted(holders) if key else [])


def test_rare_keys_weigh_more_when_idf_is_computed():
    keys = Ragged.of([[1], [1], [1, 2], [0]])
    np.testing.assert_allclose(idf(keys, 4), [0, math.log(5 / 4), math.log(5 / 2), math.log(5 / 1)], rtol=1e-6)


def test_idf_is_not_negative_when_items_hold_a_key_twice():
    assert idf(Ragged.of([[1, 1]] * 10), 2).tolist() == [0, 0]


def test_a_source_reaches_its_key_alone_and_the_unknown_key_is_reached_by_none():
    reach = FamilyReach.matching(np.array([0, 2, 1, 0, 2], np.int32), np.array([0.0, 0.5, 0.25], np.float32))
    assert [reach.keys.row(source).tolist() for source in range(5)] == [[], [2], [1], [], [2]]
    assert reach.weights.tolist() == [0.25, 0.5, 0.25]
    assert reach.n_keys == 3


def test_families_follow_one_another_when_they_are_joined():
    families = (KeyFamily("a", "a", "match"), KeyFamily("b", "b", "match"))
    index = KeyIndex.of(families, [FamilyReach(3, Ragged.of([[], [2], [1, 2]]), np.ones(3, np.float32)),
                                   FamilyReach(2, Ragged.of([[0], [1]]), np.full(2, 7, np.float32))])
    assert (index.starts.tolist(), index.source_starts.tolist(), index.n_keys) == ([0, 3, 5], [0, 3, 5], 5)
    assert [index.reach.row(source).tolist() for source in range(5)] == [[], [2], [1, 2], [3], [4]]
    assert index.weights.tolist() == [1, 1, 1, 7, 7]
    held = ItemKeys.of(families, index.starts, {"a": Ragged.of([[1, 2], []]), "b": Ragged.of([[1], [0, 1]])})
    assert [held.lists.row(row).tolist() for row in range(4)] == [[1, 2], [4], [], [3, 4]]
    assert [held.take(np.array([1])).lists.row(row).tolist() for row in range(2)] == [[], [3, 4]]
