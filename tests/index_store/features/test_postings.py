"""Interaction features against plain loops over users, keys, nodes and members."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.features import postings
from index_store.features.encoder import Features, FeatureSpec, FieldSpec, KeyFamily, TaskSpec
from index_store.features.postings import (
    FamilyReach,
    ItemKeys,
    KeyIndex,
    idf,
    item_features,
    key_postings,
    node_features,
    user_keys,
)
from index_store.features.ragged import Ragged
from index_store.tree.tree import Tree, build_tree


@dataclass(frozen=True)
class Catalogue:
    """Key families over random items, by plain lists beside the index; users with histories and a field."""

    index: KeyIndex
    spec: FeatureSpec
    fields: dict[str, Ragged]
    reaches: list[FamilyReach]
    tree: Tree
    users: Features
    histories: Ragged

    @property
    def item_keys(self):
        return ItemKeys.of(self.spec.key_families, self.index.starts, self.fields)

    def hits(self):
        return user_keys(self.index, self.spec, self.users, self.histories, self.fields)


@st.composite
def catalogues(draw):
    """One key an item, several, by co-click, and from a field of the user."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    items, users = draw(st.integers(1, 25)), draw(st.integers(1, 4))
    single = Ragged.of([[key] for key in random.integers(0, 5, items)])  # 0 is the unknown key
    several = Ragged.of([np.unique(random.integers(1, 7, random.integers(0, 4))) for _ in range(items)])
    own = Ragged.of([[row + 1] for row in range(items)])
    n_keys = items + 1
    lists = [random.permutation(np.arange(1, n_keys))[:random.integers(0, 4)] for _ in range(n_keys)]
    neighbours = Ragged.of([np.sort(part) if key else [] for key, part in enumerate(lists)])
    weights = random.uniform(0.1, 2, len(neighbours.values)).astype(np.float32)
    reaches = [FamilyReach.matching(np.arange(5, dtype=np.int32), idf(single, 5)),
               FamilyReach.matching(np.arange(7, dtype=np.int32), idf(several, 7)),
               FamilyReach(n_keys, neighbours, weights),
               FamilyReach.matching(random.integers(0, 5, 9).astype(np.int32), idf(single, 5))]
    families = (KeyFamily("single", "a", "match"), KeyFamily("several", "b", "match"),
                KeyFamily("own", "ad_id", "co_click", 3), KeyFamily("liked", "a", "match", user_field="likes"))
    spec = FeatureSpec((FieldSpec("likes", "multi"),), (FieldSpec("a", "categorical"), FieldSpec("b", "multi")),
                       (TaskSpec("click"),), "impressions", families, history_ordered=draw(st.booleans()))
    nothing = np.empty((users, 0))
    likes = Ragged.of([np.unique(random.integers(0, 9, random.integers(0, 4))) for _ in range(users)])
    tree = build_tree(random.integers(0, 3, (items, 2)), random.normal(size=(items, 2)).astype(np.float32))
    return Catalogue(KeyIndex.of(families, reaches), spec, {"a": single, "b": several, "ad_id": own}, reaches, tree,
                     Features(nothing.astype(np.float32), nothing.astype(np.int32), (likes,)),
                     Ragged.of([random.integers(0, items, random.integers(0, 6)) for _ in range(users)]))


def keys_by_hand(catalogue, f, user):
    """key of family f -> values, for one user."""
    family, reach = catalogue.spec.key_families[f], catalogue.reaches[f]
    if family.user_field:
        sources = [(source, 0.0) for source in catalogue.users.multi[0].row(user).tolist()]
    else:
        sources = [(source, 1 / (1 + rank)) for rank, row in enumerate(catalogue.histories.row(user).tolist())
                   for source in catalogue.fields[family.item_field].row(row).tolist()]
    found = {}
    for source, recency in sources:
        for at in range(reach.keys.indptr[source], reach.keys.indptr[source + 1]):
            found.setdefault(int(reach.keys.values[at]), []).append((float(reach.weights[at]), recency))
    return {key: [math.log(1 + len(hits)), math.log(1 + sum(w for w, _ in hits)), max(w for w, _ in hits),
                  *([max(r for _, r in hits)] if catalogue.spec.history_ordered else [])]
            for key, hits in found.items()}


def item_by_hand(catalogue, user, row):
    """Features of one user with one item: per value the maximum over the item's keys."""
    features = []
    for f, family in enumerate(catalogue.spec.key_families):
        mine = keys_by_hand(catalogue, f, user)
        hits = [mine[key] for key in catalogue.fields[family.item_field].row(row).tolist() if key in mine]
        width = 3 + catalogue.spec.history_ordered
        features += [max(column) for column in zip(*hits, strict=True)] if hits else [0.0] * width
    return features


@settings(max_examples=100, deadline=None)
@given(catalogues())
def test_user_keys_are_those_found_by_hand_when_histories_are_random(catalogue):
    hits, starts = catalogue.hits(), catalogue.index.starts
    for user in range(len(catalogue.histories)):
        expected = {starts[f] + key: (f, values) for f in range(len(catalogue.reaches))
                    for key, values in keys_by_hand(catalogue, f, user).items()}
        at = slice(hits.indptr[user], hits.indptr[user + 1])
        assert hits.keys[at].tolist() == sorted(expected)
        assert hits.families[at].tolist() == [expected[key][0] for key in sorted(expected)]
        np.testing.assert_allclose(hits.values[at], np.reshape([expected[key][1] for key in sorted(expected)],
                                                               (-1, hits.values.shape[1])), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scratch", [1, 200, postings.SCRATCH])
@settings(max_examples=60, deadline=None)
@given(catalogue=catalogues())
def test_features_are_the_maximum_over_members_when_computed_by_hand(scratch, catalogue):
    tree, item_keys, index = catalogue.tree, catalogue.item_keys, catalogue.index
    users = range(len(catalogue.histories))
    hits = catalogue.hits()
    slots = np.zeros(index.n_keys, np.int32)
    by_item = np.array([[item_by_hand(catalogue, user, row) for row in tree.rows] for user in users])
    saved, postings.SCRATCH = postings.SCRATCH, scratch  # batches of users are cut differently
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
        postings.SCRATCH = saved
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
        for f, name in enumerate("ab"):
            key = index.starts[f] + fields[name].row(item)[0]
            at = np.flatnonzero(hits.keys[:hits.indptr[1]] == key)
            expected = hits.values[at[0]] if len(at) else np.zeros(4)
            np.testing.assert_array_equal(found[0, item, 4 * f:4 * f + 4], expected)
    assert not found[1].any()


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
