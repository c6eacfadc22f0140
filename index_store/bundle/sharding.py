"""Sharding: makes of a bundle a root and its shards, which are ranges of the items between leaf nodes.

The root is the bundle without the embeddings of its items: all levels above them, and of all items what histories,
targeting, bids and caps read. Its folder holds the shards, each sealed on its own and with the root's id.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.bundle.folded_files import read_folded, write_folded
from index_store.bundle.manifest import FORMAT_VERSION, MANIFEST, BundleError, LevelEntry, SearchDefaults
from index_store.bundle.shard import LEVEL, ShardPlace
from index_store.bundle.shard_map import ShardMap
from index_store.bundle.spectral_files import write_vectors
from index_store.tree.tree import Tree


def shard_bundle(folder: Path, shards: int, out: Path) -> None:
    """Writes a root and its shards; `out` is there once all of them are.

    Args:
        folder: the bundle.
        shards: how many.
        out: folder that must not exist yet.

    Raises:
        BundleError: the bundle is broken, of an older format or sharded itself, its tree has fewer leaf nodes, or
            `out` exists.
    """
    if out.exists():
        raise BundleError(out, ".", "already exists", "bundles are never edited; choose a new name")
    opened = Bundle.open(folder)
    version = opened.manifest.format_version
    if version != FORMAT_VERSION:
        raise opened.files.error(MANIFEST, f"has format version {version}, only version {FORMAT_VERSION} is sharded")
    if opened.content.shards is not None:
        raise BundleError(folder, layout.SHARDS, f"is there already: this is a root of {len(opened.content.shards)} "
                                                 "shards", "shard the bundle that it was made of")
    shard_map = ShardMap(opened.bundle_id, _bounds(opened, shards))
    staging = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        root_id = _write_root(opened, shard_map, staging / "root")
        for number in range(shards):
            _write_shard(opened, shard_map, number, root_id, staging / "root" / layout.shard_folder(number))
        (staging / "root").rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _bounds(opened: Bundle, shards: int) -> NDArray[np.int64]:
    """Bounds (S + 1,) between leaf nodes that divide the items most evenly."""
    tree = opened.content.tree
    leaves = tree.size(tree.depth - 1) if tree.depth > 1 else 0
    if not 1 <= shards <= leaves:
        raise BundleError(opened.files.folder, "tree", f"has {leaves} leaf nodes, and {shards} shards were asked for",
                          "ask for at least 1 shard, and at most as many as there are leaf nodes")
    return bounds_of(tree, shards)


def bounds_of(tree: Tree, shards: int) -> NDArray[np.int64]:
    """Positions (S + 1,) int64 at which S shards begin and end, each at a leaf node, of sizes as even as these allow.

    Args:
        tree: with at least S leaf nodes.
        shards: S, at least 1.
    """
    starts = tree.offsets[-1]
    wanted = np.arange(1, shards) * tree.n_items / shards
    cuts = np.abs(starts[None, :] - wanted[:, None]).argmin(axis=1)
    for at in range(len(cuts)):  # each shard has a leaf node of its own
        cuts[at] = max(cuts[at], cuts[at - 1] + 1 if at else 1)
    for at in reversed(range(len(cuts))):
        cuts[at] = min(cuts[at], len(starts) - 1 - (len(cuts) - at))
    return np.array([0, *starts[cuts], tree.n_items], np.int64)


def _write_root(opened: Bundle, shard_map: ShardMap, target: Path) -> str:
    """Writes the root; returns its id."""
    manifest, embeddings = opened.manifest, opened.content.embeddings[-1]
    of_items = layout.level_array("embeddings", opened.content.tree.depth)
    writer = BundleWriter(target)
    for name in manifest.files:
        if name != of_items:
            _link(opened.files.path(name), writer.path(name))
    writer.array(of_items, embeddings[:0])  # says width and type
    writer.json(layout.SHARDS, shard_map.to_json())
    kept = ("dims", "tasks", "calibrated", "levels", "counts", "search", "changes_included", "change_log_id")
    return writer.seal(**{name: getattr(manifest, name) for name in kept}).bundle_id


def _link(source: Path, target: Path) -> None:
    """Makes a file of a bundle one of another too: sealed files never change, so both may share disk and page cache."""
    try:
        os.link(source, target)
    except OSError:  # on another disk, or one that has no hard links
        shutil.copyfile(source, target)


def _write_shard(opened: Bundle, shard_map: ShardMap, number: int, root_id: str, target: Path) -> None:
    manifest, content = opened.manifest, opened.content
    first, end = shard_map.bounds[number:number + 2].tolist()
    spectral, keys = content.index.spectral, content.keys_of_position
    place = ShardPlace(root_id, number, len(shard_map), first, end, keys.families, content.index.n_keys,
                       0 if spectral is None else spectral.items.directions)
    writer = BundleWriter(target)
    writer.array(layout.level_array("embeddings", LEVEL), content.embeddings[-1][first:end])
    writer.ragged(layout.ITEM_KEYS, keys.lists.part(slice(first * keys.families, end * keys.families)))
    if spectral is not None:
        write_vectors(writer, LEVEL, spectral.items.part(slice(first, end)))
    _copy_scorer(opened.files, writer)
    writer.json(layout.SHARD, place.to_json())
    writer.seal(dims=manifest.dims, tasks=manifest.tasks, calibrated=manifest.calibrated,
                levels=(LevelEntry(LEVEL, end - first, layout.scorer(1), manifest.levels[-1].width, True),),
                counts={"items": end - first, "users": 0}, search=SearchDefaults((), manifest.search.top_k),
                changes_included=manifest.changes_included, change_log_id=manifest.change_log_id)


def _copy_scorer(files: BundleFiles, writer: BundleWriter) -> None:
    """The scorer of the items, which becomes the only one: its graph, and its arrays for the kernel."""
    scorers = files.manifest.scorers
    shutil.copyfile(files.path(scorers[-1]), writer.path(layout.scorer(1)))
    weights = read_folded(files, len(scorers))
    if weights is not None:
        write_folded(writer, 1, weights)
