"""The E-step finds planted groups; its report counts what it says it counts."""

import numpy as np
import pytest

from index_store.features.interaction import item_features, node_features
from index_store.features.postings import ItemKeys
from index_store.features.tower_inputs import all_item_keys
from index_store.features.user_keys import user_keys
from index_store.tree.node_content import level_postings, node_means
from index_store.tree.tree import build_tree
from model.config.errors import ConfigError
from model.examples.clicks import Clicks
from model.examples.key_index import key_index
from model.tree.k_means import check_branching, default_branching, learn_codes
from tests.model.worlds import planted_groups, positives


def test_codes_follow_planted_groups_at_every_level():
    vectors, group, subgroup = planted_groups(4, 3, 5)
    codes = learn_codes(vectors, (4, 3), seed=0)
    for level, truth in ((1, group), (2, subgroup)):
        _, prefix = np.unique(codes[:, :level], axis=0, return_inverse=True)
        pairs = np.unique(np.stack([prefix, truth]), axis=1)
        assert pairs.shape[1] == len(np.unique(truth)) == len(np.unique(prefix))


def test_codes_are_the_same_for_the_same_seed():
    vectors, _, _ = planted_groups(3, 3, 4)
    assert np.array_equal(learn_codes(vectors, (3, 3), seed=5), learn_codes(vectors, (3, 3), seed=5))


def test_node_embeddings_are_the_means_of_their_members(tolerance=1e-4):
    vectors, _, _ = planted_groups(3, 2, 4)
    tree = build_tree(learn_codes(vectors, (3, 2), seed=0), vectors)
    for level, means in enumerate(node_means(tree, vectors), start=1):
        for node in range(tree.size(level)):
            first, end = tree.bounds(level, np.array([node]))
            members = vectors[tree.rows[first[0]:end[0]]]
            assert np.allclose(means[node], members.mean(0), atol=tolerance)
            distances = ((vectors[tree.rows] - members.mean(0)) ** 2).sum(1)[first[0]:end[0]]
            assert tree.representatives[level - 1][node] - first[0] == distances.argmin()


@pytest.mark.parametrize("items", [2, 30, 500, 20_000, 1_000_000])
def test_default_branching_fits_the_items(items):
    check_branching(default_branching(items), items)


def test_branching_that_exceeds_the_items_is_refused():
    with pytest.raises(ConfigError, match=r"makes 64 leaves for 50 items; choose fewer, such as"):
        check_branching((8, 8), 50)


def test_node_features_are_the_members_maximum_or_the_representatives_own():
    data = positives()
    clicks = Clicks.of(data.train, 60)
    index, fields = key_index(data, clicks), all_item_keys(data.spec, data.items)
    item_keys = ItemKeys.of(index.families, index.starts, fields)
    vectors = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    tree = build_tree(learn_codes(vectors, (4, 3), seed=0), vectors)
    hits = user_keys(index, data.spec, data.users.take(np.arange(9)), clicks.histories(np.arange(9)), fields)
    items = item_features(hits, item_keys, tree.rows, np.zeros(index.n_keys, np.int32))
    for level in (1, 2):
        offsets, size = tree.offsets[level - 1], tree.size(level)
        postings = level_postings(tree, index, item_keys, level, "maximum")
        expected = np.maximum.reduceat(items, offsets[:-1], axis=1)
        assert np.array_equal(node_features(hits, len(index.families), postings, size, np.arange(size)), expected)
        postings = level_postings(tree, index, item_keys, level, "representative")
        expected = items[:, tree.representatives[level - 1]]
        assert np.array_equal(node_features(hits, len(index.families), postings, size, np.arange(size)), expected)


def test_a_warm_started_k_means_leaves_items_where_they_are():
    vectors, _, _ = planted_groups(4, 3, 5)
    codes = learn_codes(vectors, (4, 3), seed=0)
    assert np.array_equal(learn_codes(vectors, (4, 3), seed=9, start=codes), codes)
    missing = codes.copy()
    missing[::7] = -1
    assert np.array_equal(learn_codes(vectors, (4, 3), seed=9, start=missing), codes)


def test_a_warm_started_k_means_keeps_the_number_of_nodes_when_items_change_their_parent():
    vectors = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    codes = learn_codes(vectors, (8, 5), seed=0)
    shifted = vectors + np.random.default_rng(1).normal(size=vectors.shape).astype(np.float32) * 0.7
    now = learn_codes(shifted, (8, 5), seed=0, start=codes)
    assert (now[:, 0] != codes[:, 0]).any()
    assert len(np.unique(now, axis=0)) > 0.9 * len(np.unique(codes, axis=0))
