"""Shards that a process has open: found by the id of their root, verified once, closed when nobody uses them."""

import shutil
import threading

import pytest

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.bundle.shard import Shard
from index_store.bundle.sharding import shard_bundle
from service.cluster.opened_shards import OpenedShards
from service.retrieval.onnx_towers import DenseRun


@pytest.fixture
def folder(tiny_bundle, tmp_path):
    for name, shards in (("two", 2), ("three", 3)):
        shard_bundle(tiny_bundle, shards, tmp_path / "roots" / name)
    return tmp_path / "roots"


def test_shards_of_two_roots_are_open_at_the_same_time_and_closed_when_nobody_uses_them(folder):
    opened = OpenedShards(folder, 1, DenseRun("onnx"))
    ids = [Bundle.open(folder / name).bundle_id for name in ("two", "three")]
    taken = [opened.take(root) for root in (*ids, ids[0])]
    assert taken[0] is taken[2]
    assert [(one.place.first, one.place.end) for one in taken] == [(150, 300), (100, 200), (150, 300)]
    assert opened.roots == ids
    opened.give_back(taken[0])
    opened.give_back(taken[1])
    assert opened.roots == ids[:1]
    opened.give_back(taken[2])
    assert opened.roots == []


def test_a_machine_needs_its_own_shards_alone(folder, tmp_path):
    shutil.copytree(folder / "two" / "shards" / "1", tmp_path / "machine" / "any" / "shards" / "1")
    root = Bundle.open(folder / "two").bundle_id
    assert OpenedShards(tmp_path / "machine", 1, DenseRun("onnx")).take(root).place.root == root
    assert OpenedShards(folder / "two", 1, DenseRun("onnx")).take(root).place.root == root


def test_a_missing_or_broken_shard_is_told(folder):
    with pytest.raises(BundleError, match=r"shards/2: of root c0ffee is not here, but of [0-9a-f]{16}; copy it there"):
        OpenedShards(folder, 2, DenseRun("onnx")).take("c0ffee")
    with pytest.raises(BundleError, match="shards/3: of root c0ffee is not here, but of no root"):
        OpenedShards(folder, 3, DenseRun("onnx")).take("c0ffee")
    path = folder / "two" / "shards" / "0" / layout.level_array("embeddings", 1)
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(BundleError, match="has checksum"):
        OpenedShards(folder, 0, DenseRun("onnx")).take(Bundle.open(folder / "two").bundle_id)


def test_a_folder_beside_it_that_is_no_shard_yet_harms_no_other(folder):
    (folder / "a-copy-that-has-begun" / "shards" / "1").mkdir(parents=True)
    opened, root = OpenedShards(folder, 1, DenseRun("onnx")), Bundle.open(folder / "two").bundle_id
    assert opened.take(root).place.root == root
    with pytest.raises(BundleError, match=r"of root c0ffee is not here, but of none in \S*a-copy-that-has-begun\S* \("):
        opened.take("c0ffee")


def test_another_shard_of_the_root_in_its_place_is_refused(folder):
    at = folder / "two" / "shards"
    shutil.rmtree(at / "0")
    shutil.copytree(at / "1", at / "0")
    with pytest.raises(BundleError, match=r"is that of shard 1 of root [0-9a-f]{16}; shard 0 belongs there"):
        OpenedShards(folder, 0, DenseRun("onnx")).take(Bundle.open(folder / "two").bundle_id)


def test_what_takes_the_place_of_a_verified_shard_is_verified_too(folder):
    opened = OpenedShards(folder, 0, DenseRun("onnx"))
    ids = [Bundle.open(folder / name).bundle_id for name in ("two", "three")]
    opened.give_back(opened.take(ids[0]))
    shutil.rmtree(folder / "two")
    (folder / "three").rename(folder / "two")
    path = folder / "two" / "shards" / "0" / layout.level_array("embeddings", 1)
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(BundleError, match="has checksum"):
        opened.take(ids[1])


def test_others_are_given_back_while_a_shard_is_opened(folder, monkeypatch):
    opened = OpenedShards(folder, 0, DenseRun("onnx"))
    one, other = (Bundle.open(folder / name).bundle_id for name in ("two", "three"))
    taken, begun, go_on = opened.take(one), threading.Event(), threading.Event()
    verified = Shard.open

    def slowly(*arguments, **options):
        begun.set()
        assert go_on.wait(60)
        return verified(*arguments, **options)

    monkeypatch.setattr(Shard, "open", slowly)
    opening = threading.Thread(target=opened.take, args=(other,))
    opening.start()
    assert begun.wait(60)
    assert opened.take(one) is taken
    opened.give_back(taken)
    opened.give_back(taken)
    assert opened.roots == []
    go_on.set()
    opening.join()
    assert opened.roots == [other]
