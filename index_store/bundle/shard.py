"""A shard: the items at a range of positions of a sharded bundle, sealed as a bundle of its own, ready to be scored.

It holds what the scorer reads of an item, and the scorer of the items; everything else is in its root.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from index_store.bundle import layout
from index_store.bundle.files import BundleFiles
from index_store.bundle.manifest import BundleError
from index_store.bundle.shard_map import ShardMap
from index_store.bundle.spectral_files import read_vectors
from index_store.features.postings import ItemKeys
from index_store.features.spectral_vectors import SpectralVectors
from index_store.search.scoring import DenseLayers, Storage, TowerScorer
from index_store.tree.tree import Tree

LEVEL = 1
"""Of the items: a shard has no other."""


@dataclass(frozen=True)
class ShardPlace:
    """Which shard it is.

    Attributes:
        root: id of the root.
        number: from 0.
        shards: of the root.
        first, end: positions that it holds.
        families, keys: number of key families and of keys of the root.
        directions: of the spectral vectors; 0 for none.
    """

    root: str
    number: int
    shards: int
    first: int
    end: int
    families: int
    keys: int
    directions: int

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def read(cls, files: BundleFiles) -> Self:
        """Raises BundleError if the files are not those of a shard."""
        if layout.SHARD not in files.manifest.files:
            raise BundleError(files.folder, ".", "is not a shard", "name one that `python -m index_store shard` wrote")
        try:
            place = cls(**files.json(layout.SHARD))
            if not 0 <= place.number < place.shards or not 0 <= place.first < place.end:
                raise ValueError(f"shard {place.number} of {place.shards}, positions {place.first} to {place.end}")
        except (TypeError, ValueError) as error:
            raise files.error(layout.SHARD, f"does not say which shard it is ({error})") from error
        return place


@dataclass(frozen=True)
class Shard:
    """An opened shard of N items.

    Attributes:
        embeddings: (N, Di).
        item_keys: of each item.
        spectral: vectors of the items, one entry; empty in a bundle without spectral towers.
    """

    files: BundleFiles
    place: ShardPlace
    embeddings: Storage
    item_keys: ItemKeys
    spectral: tuple[SpectralVectors, ...]

    def __len__(self) -> int:
        return self.place.end - self.place.first

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> Self:
        """Opens a shard by memory map.

        Args:
            folder: the shard.
            verify: first compare the checksum of every file.

        Raises:
            BundleError: it is broken, or no shard.
        """
        files = BundleFiles(folder, verify=verify)
        place = ShardPlace.read(files)
        n = place.end - place.first
        entry = files.manifest.levels[-1]
        if entry.nodes != n:
            raise files.error(layout.SHARD, f"holds the positions {place.first} to {place.end}, the manifest "
                                            f"{entry.nodes} items")
        keys = ItemKeys(place.families, files.ragged(layout.ITEM_KEYS, n * place.families, below=place.keys))
        spectral = (read_vectors(files, LEVEL, n, place.directions),) if place.directions else ()
        return cls(files, place, files.storage(layout.level_array("embeddings", LEVEL), (n, entry.width)), keys,
                   spectral)

    def scorer(self, layer: DenseLayers) -> TowerScorer:
        """Scores the items as nodes of a tree of items alone, whose positions begin at 0; without what is above."""
        nothing_above = Tree(np.arange(len(self), dtype=np.int32), (), ())
        return TowerScorer(nothing_above, (layer,), (), (self.embeddings,), (), self.item_keys, self.place.keys,
                           self.spectral)


def open_shards(root: BundleFiles, shards: ShardMap) -> list[Shard]:
    """All shards of a root, verified, in order, from the folder of the root.

    Raises:
        BundleError: one is missing, broken, or of another root.
    """
    return [open_shard(root, shards, number) for number in range(len(shards))]


def open_shard(root: BundleFiles, shards: ShardMap, number: int) -> Shard:
    """One shard of a root, verified, from the folder of the root.

    Raises:
        BundleError: it is missing, broken, or of another root.
    """
    folder, bundle_id = root.folder / layout.shard_folder(number), root.manifest.bundle_id
    if not folder.is_dir():
        raise root.error(layout.shard_folder(number), f"is missing; the root has {len(shards)} shards")
    shard = Shard.open(folder)
    place, (first, end) = shard.place, shards.bounds[number:number + 2].tolist()
    if place.root != bundle_id:
        raise root.error(layout.shard_folder(number), f"is a shard of root {place.root}, this is root {bundle_id}")
    if (place.number, place.shards, place.first, place.end) != (number, len(shards), first, end):
        raise root.error(layout.shard_folder(number), f"is shard {place.number} of {place.shards} with the positions "
                                                      f"{place.first} to {place.end}; shard {number} of {len(shards)} "
                                                      f"with {first} to {end} belongs there")
    return shard
