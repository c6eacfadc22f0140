"""Interaction features against plain loops over users, keys, nodes and members."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store import postings
from index_store.features import KeyFamily
from index_store.postings import FamilyIndex, idf, item_features, key_postings, node_features, user_keys
from index_store.ragged import Ragged
from index_store.tree import build_tree


@st.composite
def catalogues(draw):
    """(families over a catalogue, tree, histories of some users): one key an item, several, and by co-click."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    items, users = draw(st.integers(1, 25)), draw(st.integers(1, 4))
    single = Ragged.of([[key] for key in random.integers(0, 5, items)])  # 0 is the unknown key
    several = Ragged.of([np.unique(random.integers(1, 7, random.integers(0, 4))) for _ in range(items)])
    own = Ragged.of([[row + 1] for row in range(items)])
    n_keys = items + 1
    lists = [random.permutation(np.arange(1, n_keys))[:random.integers(0, 4)] for _ in range(n_keys)]
    neighbours = Ragged.of([np.sort(part) if key else [] for key, part in enumerate(lists)])
    weights = random.uniform(0.1, 2, len(neighbours.values)).astype(np.float32)
    families = (FamilyIndex(KeyFamily("single", "a", "match"), single, idf(single, 5)),
                FamilyIndex(KeyFamily("several", "b", "match"), several, idf(several, 7)),
                FamilyIndex(KeyFamily("own", "ad_id", "co_click", 3), own, idf(own, n_keys), neighbours, weights))
    codes = random.integers(0, 3, (items, 2))
    tree = build_tree(codes, random.normal(size=(items, 2)).astype(np.float32))
    return families, tree, Ragged.of([random.integers(0, items, random.integers(0, 6)) for _ in range(users)])


def keys_by_hand(index, history, ordered):
    """key -> values, for one user's history."""
    found = {}
    for rank, row in enumerate(history.tolist()):
        for key in index.item_keys.row(row).tolist():
            if index.neighbours is None:
                entries = [(key, float(index.idf[key]))] if key else []
            else:
                at = range(index.neighbours.indptr[key], index.neighbours.indptr[key + 1])
                entries = [(int(index.neighbours.values[i]), float(index.weights[i])) for i in at]
            for other, weight in entries:
                found.setdefault(other, []).append((weight, 1 / (1 + rank)))
    return {key: [math.log(1 + len(hits)), math.log(1 + sum(w for w, _ in hits)), max(w for w, _ in hits),
                  *([max(r for _, r in hits)] if ordered else [])] for key, hits in found.items()}


def item_by_hand(families, history, row, ordered):
    """Features of one user with one item: per value the maximum over the item's keys."""
    features = []
    for index in families:
        mine = keys_by_hand(index, history, ordered)
        hits = [mine[key] for key in index.item_keys.row(row).tolist() if key in mine]
        features += [max(column) for column in zip(*hits, strict=True)] if hits else [0.0] * (3 + ordered)
    return features


@settings(max_examples=100, deadline=None)
@given(catalogues(), st.booleans())
def test_user_keys_are_those_found_by_hand_when_histories_are_random(catalogue, ordered):
    families, _, histories = catalogue
    for index in families:
        hits = user_keys(index, histories, ordered)
        for user in range(len(histories)):
            first, end = hits.indptr[user], hits.indptr[user + 1]
            expected = keys_by_hand(index, histories.row(user), ordered)
            assert hits.keys[first:end].tolist() == sorted(expected)
            np.testing.assert_allclose(hits.values[first:end], [expected[key] for key in sorted(expected)] or
                                       np.empty((0, 3 + ordered)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scratch", [1, 200, postings.SCRATCH])
@settings(max_examples=60, deadline=None)
@given(catalogue=catalogues(), ordered=st.booleans())
def test_features_are_the_maximum_over_members_when_computed_by_hand(scratch, catalogue, ordered):
    families, tree, histories = catalogue
    users = range(len(histories))
    hits = [user_keys(index, histories, ordered) for index in families]
    by_item = np.array([[item_by_hand(families, histories.row(user), row, ordered) for row in tree.rows]
                        for user in users])
    saved, postings.SCRATCH = postings.SCRATCH, scratch  # batches of users are cut differently
    try:
        rows = np.stack([np.roll(tree.rows, user) for user in users])
        each = item_features(hits, families, rows)
        alike = item_features(hits, families, tree.rows)
        levels = []
        for level in range(1, tree.depth):
            node_of_row = tree.node_of_position(level)[tree.position_of_row]
            to_nodes = [key_postings(index.item_keys, len(index.idf), node_of_row) for index in families]
            n_nodes = tree.size(level)
            own = np.stack([np.roll(np.arange(n_nodes), user) for user in users])
            levels.append((own, *(node_features(hits, to_nodes, n_nodes, nodes)
                                  for nodes in (None, np.arange(n_nodes)[::-1], own))))
    finally:
        postings.SCRATCH = saved
    close = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(alike, by_item, **close)
    np.testing.assert_allclose(each, [np.roll(by_item[user], user, axis=0) for user in users], **close)
    for level, (own, every, reverse, each_own) in enumerate(levels, start=1):
        bounds = zip(tree.offsets[level - 1], tree.offsets[level - 1][1:], strict=False)
        expected = np.stack([by_item[:, first:end].max(axis=1) for first, end in bounds], axis=1)
        np.testing.assert_allclose(every, expected, **close)
        np.testing.assert_array_equal(reverse, every[:, ::-1])
        np.testing.assert_array_equal(each_own, [every[user, own[user]] for user in users])


@settings(max_examples=60, deadline=None)
@given(catalogues())
def test_postings_list_the_nodes_of_a_key_once_when_members_share_it(catalogue):
    families, tree, _ = catalogue
    node_of_row = tree.node_of_position(1)[tree.position_of_row]
    for index in families:
        found = key_postings(index.item_keys, len(index.idf), node_of_row)
        for key in range(len(index.idf)):
            holders = {int(node_of_row[row]) for row in range(len(index.item_keys)) if key in index.item_keys.row(row)}
            assert found.row(key).tolist() == (sorted(holders) if key else [])


def test_rare_keys_weigh_more_when_idf_is_computed():
    keys = Ragged.of([[1], [1], [1, 2], [0]])
    np.testing.assert_allclose(idf(keys, 4), [0, math.log(5 / 4), math.log(5 / 2), math.log(5 / 1)], rtol=1e-6)
