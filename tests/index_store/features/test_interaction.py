"""Interaction features against plain loops over users, keys, nodes and members."""


import numpy as np
import pytest
from hypothesis import given, settings

from index_store.declaration.spec import FeatureSpec, FieldSpec, KeyFamily, TaskSpec
from index_store.declaration.values import FeatureError
from index_store.features import interaction
from index_store.features.encoder import Features
from index_store.features.interaction import (
    columns_of,
    feature_names,
    item_features,
    node_features,
    node_pair_features,
    pair_features,
)
from index_store.features.postings import FamilyReach, ItemKeys, KeyIndex, idf, key_postings
from index_store.features.ragged import Ragged
from index_store.features.spectral import SPECTRAL_FEATURES
from index_store.features.user_keys import user_keys, values_per_key
from tests.index_store.features.catalogues import catalogues, keys_by_hand


def item_by_hand(catalogue, user, row):
    """Features of one user with one item: per value the maximum over the item's keys."""
    features = []
    for f, family in enumerate(catalogue.spec.key_families):
        mine = keys_by_hand(catalogue, f, user)
        hits = [mine[key] for key in catalogue.fields[family.item_field].row(row).tolist() if key in mine]
        width = len(values_per_key(catalogue.spec))
        features += [max(column) for column in zip(*hits, strict=True)] if hits else [0.0] * width
    return features


@pytest.mark.parametrize("scratch", [1, 200, interaction.SCRATCH])
@settings(max_examples=60, deadline=None)
@given(catalogue=catalogues())
def test_features_are_the_maximum_over_members_when_computed_by_hand(scratch, catalogue):
    tree, item_keys, index = catalogue.tree, catalogue.item_keys, catalogue.index
    users = range(len(catalogue.histories))
    hits = catalogue.hits()
    slots = np.zeros(index.n_keys, np.int32)
    by_item = np.array([[item_by_hand(catalogue, user, row) for row in tree.rows] for user in users])
    saved, interaction.SCRATCH = interaction.SCRATCH, scratch  # batches of users are cut differently
    try:
        rows = np.stack([np.roll(tree.rows, user) for user in users])
        each = item_features(hits, item_keys, rows, slots)
        alike = item_features(hits, item_keys, tree.rows, slots)
        placed = item_features(hits, item_keys.take(tree.rows), np.arange(tree.n_items), slots)
        levels = []
        for level in range(1, tree.depth):
            to_nodes = key_postings(item_keys, index, tree.node_of_position(level)[tree.position_of_row])
            n = tree.size(level)
            own = np.stack([np.roll(np.arange(n), user).repeat(2) for user in users])
            levels.append((own, *(node_features(hits, item_keys.families, to_nodes, n, nodes)
                                  for nodes in (np.arange(n), np.arange(n)[::-1], np.arange(n)[1::2], own))))
    finally:
        interaction.SCRATCH = saved
    close = {"rtol": 1e-5, "atol": 1e-6}
    assert not slots.any()
    np.testing.assert_allclose(alike, by_item, **close)
    np.testing.assert_array_equal(placed, alike)
    np.testing.assert_allclose(each, [np.roll(by_item[user], user, axis=0) for user in users], **close)
    for level, (own, every, reverse, odd, each_own) in enumerate(levels, start=1):
        bounds = zip(tree.offsets[level - 1], tree.offsets[level - 1][1:], strict=False)
        expected = np.stack([by_item[:, first:end].max(axis=1) for first, end in bounds], axis=1)
        np.testing.assert_allclose(every, expected, **close)
        np.testing.assert_array_equal(reverse, every[:, ::-1])
        np.testing.assert_array_equal(odd, every[:, 1::2])
        np.testing.assert_array_equal(each_own, [every[user, own[user]] for user in users])


@settings(max_examples=60, deadline=None)
@given(catalogue=catalogues())
def test_features_of_pairs_are_those_of_their_users_candidates(catalogue):
    tree, hits, index = catalogue.tree, catalogue.hits(), catalogue.index
    rng, count = np.random.default_rng(0), len(catalogue.histories)
    users = np.sort(rng.integers(0, count, 3 * count))
    items = rng.integers(0, tree.n_items, len(users))
    each = item_features(hits, catalogue.item_keys, np.arange(tree.n_items), np.zeros(index.n_keys, np.int32))
    np.testing.assert_array_equal(pair_features(hits, catalogue.item_keys, index.n_keys, users, items),
                                  each[users, items])
    node_of_row = tree.node_of_position(1)[tree.position_of_row]
    postings = key_postings(catalogue.item_keys, index, node_of_row)
    arguments = hits, catalogue.item_keys.families, postings, tree.size(1)
    np.testing.assert_array_equal(node_pair_features(*arguments, users, node_of_row[items]),
                                  node_features(*arguments, np.arange(tree.size(1)))[users, node_of_row[items]])


def test_features_of_one_key_an_item_are_the_same_by_matrix_as_by_lists():
    random = np.random.default_rng(0)
    families = (KeyFamily("a", "a", "match"), KeyFamily("b", "b", "match"))
    fields = {name: Ragged.of([[key] for key in random.integers(0, 6, 40)]) for name in "ab"}
    spec = FeatureSpec((), (FieldSpec("a", "categorical"), FieldSpec("b", "categorical")), (TaskSpec("click"),),
                       "impressions", families)
    index = KeyIndex.of(families, [FamilyReach.matching(np.arange(6, dtype=np.int32), idf(fields[f], 6)) for f in "ab"])
    item_keys = ItemKeys.of(families, index.starts, fields)
    assert item_keys.lists.one_each
    histories = Ragged.of([random.integers(0, 40, 5), []])
    hits = user_keys(index, spec, Features(np.empty((2, 0), np.float32), np.empty((2, 0), np.int32), ()), histories,
                     fields)
    found = item_features(hits, item_keys, np.arange(40), np.zeros(index.n_keys, np.int32))
    for item in range(40):
        pair = pair_features(hits, item_keys, index.n_keys, np.array([0, 1]), np.array([item, item]))
        np.testing.assert_array_equal(pair, found[:, item])
        for f, name in enumerate("ab"):
            key = index.starts[f] + fields[name].row(item)[0]
            at = np.flatnonzero(hits.keys[:hits.indptr[1]] == key)
            expected = hits.values[at[0]] if len(at) else np.zeros(4)
            np.testing.assert_array_equal(found[0, item, 4 * f:4 * f + 4], expected)
    assert not found[1].any()


def test_features_are_named_by_family_and_value_when_recency_is_known_or_not():
    families = (KeyFamily("a", "a", "match"), KeyFamily("b", "b", "match"))
    fields = (FieldSpec("a", "categorical"), FieldSpec("b", "multi"))
    ordered, unordered = (FeatureSpec((), fields, (TaskSpec("click"),), "impressions", families,
                                      history_ordered=ordered) for ordered in (True, False))
    assert feature_names(unordered, spectral=False) == ["a.matches", "a.weight", "a.best",
                                                        "b.matches", "b.weight", "b.best"]
    assert feature_names(ordered, spectral=False) == ["a.matches", "a.weight", "a.best", "a.recency",
                                                      "b.matches", "b.weight", "b.best", "b.recency"]
    assert feature_names(unordered) == ["a.matches", "a.weight", "a.best", "a.share", "a.sharp", "b.matches",
                                        "b.weight", "b.best", "b.share", "b.sharp", *SPECTRAL_FEATURES]


def test_columns_of_groups_are_those_of_their_names():
    spec = FeatureSpec((), (FieldSpec("brand", "categorical"),), (TaskSpec("click"),), "sampled",
                       (KeyFamily("brand", "brand", "match"), KeyFamily("near", "ad_id", "co_click", 5)))
    names = feature_names(spec)
    assert [names[at] for at in columns_of(spec, ["near"])] == [name for name in names if name.startswith("near.")]
    assert columns_of(spec, ["spectral"]) == list(range(len(names) - len(SPECTRAL_FEATURES), len(names)))
    assert columns_of(spec, []) == []
    with pytest.raises(FeatureError, match="'nar' is no key family of the log; choose from brand, near, spectral"):
        columns_of(spec, ["nar"])
