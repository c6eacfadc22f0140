"""Sharding a bundle: a root and its shards hold together what the bundle holds, and score it alike."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.bundle.shard import Shard, open_shards
from index_store.bundle.sharding import bounds_of, shard_bundle
from index_store.features.encoder import Features
from index_store.search.beam_search import BeamSearch
from index_store.search.ranking import first_task_weights
from index_store.search.sharded_scorer import ShardedScorer
from index_store.tree.tree import build_tree
from tests.index_store.search.planted_shards import LocalShards
from tests.paths import BUNDLES
from tests.tiny_bundle import dense_layers, planted_world


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.data())
def test_bounds_lie_at_leaf_nodes_and_leave_no_shard_empty(sizes, data):
    codes = np.repeat(np.arange(len(sizes)), sizes)[:, None]
    tree = build_tree(codes, np.zeros((len(codes), 1), np.float32))
    shards = data.draw(st.integers(1, len(sizes)))
    bounds = bounds_of(tree, shards)
    assert len(bounds) == shards + 1
    assert (bounds[0], bounds[-1]) == (0, len(codes))
    assert (np.diff(bounds) > 0).all()
    assert set(bounds.tolist()) <= set(tree.offsets[-1].tolist())


def test_bounds_are_even_where_the_leaf_nodes_allow_it():
    tree = build_tree(np.arange(120)[:, None] // 10, np.zeros((120, 1), np.float32))
    assert bounds_of(tree, 4).tolist() == [0, 30, 60, 90, 120]


@pytest.mark.parametrize(("bundle", "shards"), [("tiny_bundle", 1), ("stacked_bundle", 3), ("context_bundle", 24)])
def test_root_and_shards_answer_as_the_bundle_does(bundle, shards, request, tmp_path):
    folder = request.getfixturevalue(bundle)
    shard_bundle(folder, shards, tmp_path / "root")
    whole, root = Bundle.open(folder), Bundle.open(tmp_path / "root")
    opened = open_shards(root.files, root.content.shards)
    assert [len(shard) for shard in opened] == np.diff(root.content.shards.bounds).tolist()
    np.testing.assert_array_equal(np.concatenate([shard.embeddings for shard in opened]), whole.content.embeddings[-1])
    layers = [dense_layers(planted_world()[2])] * len(whole.manifest.scorers)
    local = LocalShards([shard.scorer(layers[-1]) for shard in opened])
    sharded = root.content.scorer(layers, local)
    assert isinstance(sharded, ShardedScorer)
    for row in range(0, 40, 7):
        users = whole.content.users
        features, history = users.features.take(np.array([row])), users.history.row(row)
        embedding = np.full((1, whole.manifest.dims["user_embedding"]), 0.5, np.float32)
        found, expected = (
            BeamSearch(one.content.tree, scorer).search(
                one.content.query(embedding, features, history), top_k=20, beam_width=[3, 6],
                task_weights=first_task_weights(2))
            for one, scorer in ((root, sharded), (whole, whole.content.scorer(layers))))
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
        assert sorted(found.rows.tolist()) == sorted(expected.rows.tolist())
    assert local.asked


def test_root_keeps_what_is_said_of_all_ads_and_is_promoted_as_any_bundle(tiny_bundle, tmp_path):
    shard_bundle(tiny_bundle, 2, tmp_path / "root")
    whole, root = Bundle.open(tiny_bundle), Bundle.open(tmp_path / "root")
    assert root.content.shards.bundle_id == whole.bundle_id != root.bundle_id
    assert root.content.embeddings[-1].shape == (0, 8)
    assert isinstance(root.content.items, Features)
    np.testing.assert_array_equal(root.content.encoder.item_ids, whole.content.encoder.item_ids)
    assert root.user_tower_version == whole.user_tower_version
    assert not list(tmp_path.glob(".*.partial"))


def test_root_shares_the_files_that_it_has_from_the_bundle(tiny_bundle, tmp_path, monkeypatch):
    copied = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    shard_bundle(copied, 2, tmp_path / "root")
    own = set(Bundle.open(tmp_path / "root").manifest.files)
    shared = {name for name in own if (copied / name).exists() and (copied / name).samefile(tmp_path / "root" / name)}
    assert own - shared == {layout.SHARDS, layout.level_array("embeddings", 3)}

    def no_links(*_):
        raise OSError("this disk has no hard links")

    monkeypatch.setattr("os.link", no_links)
    shard_bundle(copied, 2, tmp_path / "copy")
    assert Bundle.open(tmp_path / "copy").bundle_id == Bundle.open(tmp_path / "root").bundle_id
    assert not any((copied / name).samefile(tmp_path / "copy" / name) for name in shared)


def test_root_says_that_it_needs_its_shards_when_it_is_searched_without(tiny_bundle, tmp_path):
    shard_bundle(tiny_bundle, 2, tmp_path / "root")
    content = Bundle.open(tmp_path / "root").content
    with pytest.raises(ValueError, match="the root of 2 shards, which hold its items; say where they are, or open "
                                         f"bundle {content.shards.bundle_id}"):
        content.scorer([])


@pytest.mark.parametrize("shards", [0, 25, 1000])
def test_sharding_is_refused_when_there_are_fewer_leaf_nodes(tiny_bundle, tmp_path, shards):
    with pytest.raises(BundleError, match=f"has 24 leaf nodes, and {shards} shards were asked for"):
        shard_bundle(tiny_bundle, shards, tmp_path / "root")
    assert not list(tmp_path.iterdir())


def test_sharding_is_refused_when_the_target_exists_or_the_bundle_is_older_or_a_root(tiny_bundle, tmp_path):
    shard_bundle(tiny_bundle, 2, tmp_path / "root")
    with pytest.raises(BundleError, match="already exists"):
        shard_bundle(tiny_bundle, 2, tmp_path / "root")
    with pytest.raises(BundleError, match="has format version 7, only version 8 is sharded"):
        shard_bundle(BUNDLES / "v7", 2, tmp_path / "other")
    with pytest.raises(BundleError, match="this is a root of 2 shards; shard the bundle that it was made of"):
        shard_bundle(tmp_path / "root", 2, tmp_path / "other")


def test_a_shard_is_refused_where_a_bundle_is_wanted_and_the_other_way_round(tiny_bundle, tmp_path):
    shard_bundle(tiny_bundle, 2, tmp_path / "root")
    with pytest.raises(BundleError, match="this is a shard, which cannot be searched alone; open its root"):
        Bundle.open(tmp_path / "root" / layout.shard_folder(0))
    with pytest.raises(BundleError, match="is not a shard"):
        Shard.open(tmp_path / "root")


def test_nothing_is_left_when_the_bundle_is_broken(tiny_bundle, tmp_path):
    shutil.copytree(tiny_bundle, tmp_path / "broken")
    (tmp_path / "broken" / layout.GOLDEN).write_text("[]")
    with pytest.raises(BundleError, match="golden"):
        shard_bundle(tmp_path / "broken", 2, tmp_path / "root")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]
