"""The shard map of a root: read as it was written, and refused unless it divides the items."""

import shutil

import pytest

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.bundle.sharding import shard_bundle
from tests.resealed import reseal


@pytest.fixture(scope="module")
def root(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded") / "root"
    shard_bundle(tiny_bundle, 3, folder)
    shutil.rmtree(folder / "shards")  # another machine may have them
    return folder


def test_bounds_are_those_of_the_shards(root, tiny_bundle):
    shards = Bundle.open(root).content.shards
    assert (len(shards), shards.bounds.tolist()) == (3, [0, 100, 200, 300])
    assert Bundle.open(tiny_bundle).content.shards is None


@pytest.mark.parametrize(("written", "said"), [
    ([], "is no shard map"), ({"bundle_id": "x"}, "is no shard map"), ({"bundle_id": "x", "bounds": "a"}, "no shard"),
    ({"bundle_id": "x", "bounds": [0, 100, 100, 300]}, r"has the bounds \[0, 100, 100, 300\], which do not rise"),
    ({"bundle_id": "x", "bounds": [0, 299]}, "do not rise from 0 to the 300 items"),
    ({"bundle_id": "x", "bounds": [[0, 300]]}, "do not rise"), ({"bundle_id": "x", "bounds": [300]}, "do not rise")])
def test_a_map_that_does_not_divide_the_items_is_refused(root, tmp_path, written, said):
    reseal(root, tmp_path / "bundle", lambda writer: writer.json(layout.SHARDS, written))
    with pytest.raises(BundleError, match=said):
        Bundle.open(tmp_path / "bundle")
