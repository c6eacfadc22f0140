"""Part sizes: how many bytes of a sharded bundle's root and shards are for what."""

from __future__ import annotations

from index_store.bundle import layout
from index_store.bundle.files import BundleFiles

_OTHERS = "nodes, postings and scorers"


def part_sizes(root: BundleFiles) -> dict[str, int]:
    """Bytes of a root's files, by what they hold; the process that opens them maps as many, and touches fewer."""
    depth = root.manifest.levels[-1].level
    vectors = tuple(layout.spectral(kind, depth) for kind in ("values", "steps", "tail", "tail_steps", "popularity"))
    groups = {
        "users": ("users/", "similar/"), "embedding tables and towers": ("tables/", "user_tower", "item_tower"),
        "ids, features and keys of all ads": ("items/", layout.ITEM_KEYS, layout.TREE_ROWS),
        "targeting and bids of all ads": ("targeting/", "bids/"),
        "spectral vectors of all ads, read for histories alone": (*vectors, layout.SPECTRAL_WEIGHTS)}
    found = dict.fromkeys((*groups, _OTHERS), 0)
    for name, entry in root.manifest.files.items():
        part = next((part for part, prefixes in groups.items() if name.startswith(prefixes)), _OTHERS)
        found[part] += entry["bytes"]
    return found


def total_bytes(files: BundleFiles) -> int:
    """Bytes of all files of a bundle or shard."""
    return int(sum(entry["bytes"] for entry in files.manifest.files.values()))
