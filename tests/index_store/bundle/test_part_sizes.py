"""Sizes of a root's parts add up to all of its files."""

from index_store.bundle.files import BundleFiles
from index_store.bundle.part_sizes import part_sizes, total_bytes
from index_store.bundle.sharding import shard_bundle


def test_parts_add_up_to_the_files_of_a_root(tiny_bundle, tmp_path):
    shard_bundle(tiny_bundle, 2, tmp_path / "root")
    root = BundleFiles(tmp_path / "root", verify=False)
    parts = part_sizes(root)
    assert sum(parts.values()) == total_bytes(root)
    # 300 vectors of 256 directions in 8 bits and 2 in 4, three floats each, and a weight; headers of 128 bytes
    assert parts["spectral vectors of all ads, read for histories alone"] == 300 * (256 + 1 + 3 * 4 + 4) + 6 * 128
    assert parts["targeting and bids of all ads"] == 300 * 9 + 2 * 128
