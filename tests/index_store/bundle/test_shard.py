"""Shards of a root: which ones fit it, and what is said of those that do not."""

import shutil

import numpy as np
import pytest

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.bundle.shard import Shard, open_shards
from index_store.bundle.sharding import shard_bundle
from tests.resealed import reseal
from tests.tiny_bundle import write_tiny_bundle


@pytest.fixture
def root(tiny_bundle, tmp_path):
    shard_bundle(tiny_bundle, 3, tmp_path / "root")
    return tmp_path / "root"


def refusal(folder):
    opened = Bundle.open(folder)
    with pytest.raises(BundleError) as refused:
        open_shards(opened.files, opened.content.shards)
    return str(refused.value)


def test_shards_follow_one_another(root):
    opened = Bundle.open(root)
    places = [shard.place for shard in open_shards(opened.files, opened.content.shards)]
    assert [(place.number, place.shards, place.first, place.end) for place in places] == [
        (0, 3, 0, 100), (1, 3, 100, 200), (2, 3, 200, 300)]
    assert {place.root for place in places} == {opened.bundle_id}


def test_a_missing_shard_is_named(root):
    shutil.rmtree(root / "shards" / "1")
    assert "shards/1: is missing; the root has 3 shards" in refusal(root)


def test_shards_of_two_bundles_are_told_apart_by_both_ids(root, tmp_path):
    write_tiny_bundle(tmp_path / "other", seed=1)
    shard_bundle(tmp_path / "other", 3, tmp_path / "other-root")
    shutil.rmtree(root / "shards" / "1")
    shutil.copytree(tmp_path / "other-root" / "shards" / "1", root / "shards" / "1")
    other = Bundle.open(tmp_path / "other-root").bundle_id
    assert f"is a shard of root {other}, this is root {Bundle.open(root).bundle_id}" in refusal(root)


def test_shards_in_the_wrong_place_are_told(root):
    (root / "shards" / "0").rename(root / "shards" / "x")
    (root / "shards" / "2").rename(root / "shards" / "0")
    (root / "shards" / "x").rename(root / "shards" / "2")
    assert "is shard 2 of 3 with the positions 200 to 300; shard 0 of 3 with 0 to 100 belongs there" in refusal(root)


def test_a_broken_shard_is_told(root):
    name = layout.level_array("embeddings", 1)
    path = root / "shards" / "2" / name
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    assert f"{name}: has checksum" in refusal(root)


@pytest.mark.parametrize("place", [[], {"root": "x"}, {"root": "x", "number": 3, "shards": 3, "first": 0, "end": 100,
                                                       "families": 4, "keys": 9, "directions": 0}])
def test_a_shard_that_does_not_say_which_it_is_is_refused(root, tmp_path, place):
    reseal(root / "shards" / "0", tmp_path / "shard", lambda writer: writer.json(layout.SHARD, place))
    with pytest.raises(BundleError, match=r"shard.json: does not say which shard it is"):
        Shard.open(tmp_path / "shard")


def test_a_shard_of_another_size_than_its_manifest_says_is_refused(root, tmp_path):
    place = {**Shard.open(root / "shards" / "0").place.to_json(), "end": 99}
    reseal(root / "shards" / "0", tmp_path / "shard", lambda writer: writer.json(layout.SHARD, place))
    with pytest.raises(BundleError, match="holds the positions 0 to 99, the manifest 100 items"):
        Shard.open(tmp_path / "shard")


def test_arrays_of_a_shard_are_those_of_its_positions(root):
    whole, shard = Bundle.open(root).content, Shard.open(root / "shards" / "1")
    items = np.arange(100, 200)
    expected = whole.keys_of_position.take(items)
    np.testing.assert_array_equal(shard.item_keys.lists.values, expected.lists.values)
    np.testing.assert_array_equal(shard.item_keys.lists.indptr, expected.lists.indptr)
    for mine, theirs in zip(shard.spectral[0].arrays, whole.index.spectral.items.take(items).arrays, strict=True):
        np.testing.assert_array_equal(mine, theirs)
