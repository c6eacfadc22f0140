"""A whole bundle: its content, ready to search, and the code that writes and opens it.

`BundleContent` is what the offline job writes and the service reads. It holds arrays, but no session and no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from index_store.bundle import format_1, layout
from index_store.bundle.context_files import read_context, write_context
from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.bundle.manifest import BundleError, Manifest
from index_store.bundle.shard_map import ShardMap
from index_store.bundle.similar_files import read_similar, write_similar
from index_store.bundle.spectral_files import read_spectral, write_spectral
from index_store.bundle.speculation_files import read_speculation, write_speculation
from index_store.bundle.targeting_files import read_targeting, write_targeting
from index_store.bundle.value_files import (
    read_bids,
    read_calibrations,
    read_records,
    write_bids,
    write_calibrations,
)
from index_store.declaration.spec import FeatureSpec
from index_store.declaration.values import FeatureError
from index_store.features.context import ContextTables
from index_store.features.encoder import FeatureEncoder, Features
from index_store.features.history import History
from index_store.features.interaction import feature_names
from index_store.features.postings import ItemKeys, KeyIndex
from index_store.features.ragged import Ragged
from index_store.features.spectral_vectors import SpectralVectors
from index_store.features.tower_inputs import all_item_keys, table_sizes
from index_store.features.user_keys import user_keys
from index_store.features.vocabulary import look_up
from index_store.search.scoring import DenseLayers, Storage, TowerScorer, UserQuery
from index_store.search.sharded_scorer import ShardedScorer, Shards
from index_store.speculation.adapter import Speculation
from index_store.targeting.targeting import AdTargeting
from index_store.tree.tree import Tree, TreeError
from index_store.value.bids import AdBids
from index_store.value.calibration import Calibrations


@dataclass(frozen=True)
class UserTable:
    """Known users.

    Attributes:
        ids: (U,) sorted bytes.
        features: of U users.
        history: U rows of item rows, most recent first.
    """

    ids: NDArray[np.bytes_]
    features: Features
    history: Ragged

    def row(self, user_id: bytes) -> int:
        """Row of a user, -1 if unknown."""
        return int(look_up(self.ids, np.array([user_id]))[0])


@dataclass(frozen=True)
class BundleContent:
    """Everything in a bundle except its ONNX graphs, evaluation and golden requests.

    Attributes:
        tables: name -> (rows, width) float32, of both towers.
        embeddings: one (nodes, Di) per level, coarse to fine, the items last, in tree order; float32 or float16.
        index: key families over the catalogue.
        keys_of_position: the keys of the item at each position of the tree.
        postings: for each level above the items, key -> nodes.
        spectral: vectors of the nodes of each level above the items; those of the items are in `index.spectral`, in
            tree order. Empty in a bundle of format 3 or older.
        targeting: predicates of the ads; None if no ad has one.
        ensemble: own levels of the layers above the items' one in a stacked MoNN, ascending.
        bids: of the ads, by position; None if no ad has one.
        calibrations: of the tasks; None if they were not calibrated.
        records: (n_items, 2) impressions and clicks of the ads in the log, by position; None in a bundle of before it
            held them.
        context: what context adds; None if the model reads none.
        shards: what holds the embeddings of the items, of which the root of a sharded bundle has none; None for a
            bundle that is whole.
        speculation: what the pairs of a foundation model add; None if the bundle uses none.
    """

    encoder: FeatureEncoder
    users: UserTable
    items: Features
    tables: Mapping[str, NDArray[np.float32]]
    tree: Tree
    embeddings: tuple[Storage, ...]
    index: KeyIndex
    keys_of_position: ItemKeys
    postings: tuple[Ragged, ...]
    spectral: tuple[SpectralVectors, ...] = ()
    targeting: AdTargeting | None = None
    ensemble: tuple[int, ...] = ()
    bids: AdBids | None = None
    calibrations: Calibrations | None = None
    records: NDArray[np.integer] | None = None
    context: ContextTables | None = None
    shards: ShardMap | None = None
    speculation: Speculation | None = None

    @cached_property
    def item_keys(self) -> dict[str, Ragged]:
        """Ids of each item field by item row, as the towers and key families read them."""
        return all_item_keys(self.encoder.spec, self.items)

    def scorer(self, layers: Sequence[DenseLayers], shards: Shards | None = None) -> TowerScorer:
        """A scorer of the tree's nodes.

        Args:
            layers: the dense layers of each layer of the stack, coarse to fine.
            shards: score the items of a sharded bundle.

        Raises:
            ValueError: the bundle is sharded, and no shards are given.
        """
        parts = (self.tree, layers, self.ensemble, self.embeddings, self.postings, self.keys_of_position,
                 self.index.n_keys, self._vectors)
        if self.shards is None:
            return TowerScorer(*parts)
        if shards is None:
            raise ValueError(f"the bundle is the root of {len(self.shards)} shards, which hold its items; say where "
                             f"they are, or open bundle {self.shards.bundle_id}, of which it was made")
        return ShardedScorer(*parts, shards=shards, bounds=self.shards.bounds, tasks=len(self.encoder.spec.tasks))

    @property
    def _vectors(self) -> tuple[SpectralVectors, ...]:
        """Spectral vectors of all levels, the items last."""
        return (*self.spectral, self.index.spectral.items) if self.index.spectral is not None else ()

    def query(self, embedding: NDArray[np.float32], features: Features, history: NDArray[np.int32],
              context: NDArray[np.int32] | None = None) -> UserQuery:
        """The query of one user, as the scorer reads it.

        Args:
            embedding: (1, Du) float32 output of the user tower.
            features: of one row.
            history: (M,) item rows, most recent first.
            context: ids (C,) of the context fields that the model reads; None if they are unknown.
        """
        return self.query_of(embedding, features, History.of(history, self.item_keys), context)

    def query_of(self, embedding: NDArray[np.float32], features: Features, history: History,
                 context: NDArray[np.int32] | None = None) -> UserQuery:
        """As `query`, of a history that may have clicks on items that the bundle lacks."""
        towers = self.index.spectral
        keys = user_keys(self.index, self.encoder.spec, features, history.clicks, history.fields)
        spectral = towers.queries(Ragged.one_row(history.rows)) if towers is not None else None
        if self.context is None:
            return UserQuery(embedding, keys, spectral)
        return UserQuery(self.context.embed(embedding, context), keys, spectral, shift=self.context.shift(context))


def write_content(writer: BundleWriter, content: BundleContent) -> None:
    """Writes all arrays of the content and `features.json`."""
    encoder = content.encoder
    writer.json(layout.FEATURES, {"spec": encoder.spec.served.to_json(), "scales": dict(encoder.scales)})
    for name, values in encoder.vocabularies.items():
        writer.array(layout.vocabulary(name), values)
    for name, rows in content.tables.items():
        writer.array(layout.table(name), rows)
    writer.array(layout.USER_IDS, content.users.ids)
    _write_features(writer, layout.USER_FEATURES, content.users.features)
    writer.ragged(layout.USER_HISTORY, content.users.history)
    writer.array(layout.ITEM_IDS, encoder.item_ids)
    _write_features(writer, layout.ITEM_FEATURES, content.items)
    writer.array(layout.TREE_ROWS, content.tree.rows)
    for level, (offsets, representatives) in enumerate(
            zip(content.tree.offsets, content.tree.representatives, strict=True), start=1):
        writer.array(layout.level_array("offsets", level), offsets)
        writer.array(layout.level_array("representatives", level), representatives)
    for level, embeddings in enumerate(content.embeddings, start=1):
        writer.array(layout.level_array("embeddings", level), embeddings)
    writer.ragged(layout.REACH, content.index.reach)
    writer.array(layout.REACH_WEIGHTS, content.index.weights)
    writer.ragged(layout.ITEM_KEYS, content.keys_of_position.lists)
    for level, postings in enumerate(content.postings, start=1):
        writer.ragged(layout.level_postings(level), postings)
    if content.index.similar is not None:
        write_similar(writer, content.index.similar)
    if content.index.spectral is not None:
        write_spectral(writer, content.index.spectral, content.spectral)
    if content.targeting is not None:
        write_targeting(writer, content.targeting)
    if content.bids is not None:
        write_bids(writer, content.bids)
    if content.calibrations is not None:
        write_calibrations(writer, encoder.spec, content.calibrations)
    if content.records is not None:
        writer.array(layout.RECORDS, content.records.astype(np.uint16))
    if content.context is not None:
        write_context(writer, encoder.spec, content.context)
    if content.speculation is not None:
        write_speculation(writer, content.speculation)


@dataclass(frozen=True)
class Bundle:
    """An opened bundle."""

    files: BundleFiles
    content: BundleContent

    @property
    def manifest(self) -> Manifest:
        return self.files.manifest

    @property
    def bundle_id(self) -> str:
        return self.files.manifest.bundle_id

    @cached_property
    def user_tower_version(self) -> str:
        """Hash of the files that determine a user's embedding: the user tower's graph and tables."""
        tables = [layout.table(name) for name in table_sizes(self.content.encoder)[0]]
        return self.manifest.fingerprint([layout.USER_TOWER, *tables])

    @cached_property
    def golden(self) -> list[dict[str, Any]]:
        """Requests with the answers of the torch model, as `model export` wrote them."""
        requests: list[dict[str, Any]] = self.files.json(layout.GOLDEN)
        return requests

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> Bundle:
        """Opens a bundle by memory map.

        Args:
            folder: the bundle.
            verify: first compare the checksum of every file.

        Raises:
            BundleError: the bundle is broken or of a newer format; the message names the file and the reason.
        """
        files = BundleFiles(folder, verify=verify)
        try:
            return cls(files, _read_content(files))
        except FeatureError as error:
            raise files.error(layout.FEATURES, str(error)) from error
        except TreeError as error:
            raise files.error("tree", str(error)) from error


def _read_content(files: BundleFiles) -> BundleContent:
    manifest = files.manifest
    if layout.SHARD in manifest.files:
        raise BundleError(files.folder, layout.SHARD, "is there: this is a shard, which cannot be searched alone",
                          "open its root, two folders up")
    spec, scales = _read_declaration(files)
    vocabularies = {name: files.array(layout.vocabulary(name), "S", (None,)) for name in _names(spec, dense=False)}
    encoder = FeatureEncoder(spec, vocabularies, scales,
                             files.array(layout.ITEM_IDS, "S", (manifest.counts["items"],)))
    if list(manifest.tasks) != [task.name for task in spec.tasks]:
        raise files.error(layout.FEATURES, f"declares the tasks {[task.name for task in spec.tasks]}, the manifest "
                                           f"{list(manifest.tasks)}")
    features = len(feature_names(spec, spectral=manifest.format_version >= 4))
    if features != manifest.dims["interaction"]:
        raise files.error(layout.FEATURES, f"declares {features} interaction features, the manifest "
                                           f"{manifest.dims['interaction']}")
    n_users, n_items = manifest.counts["users"], manifest.counts["items"]
    users = UserTable(files.array(layout.USER_IDS, "S", (n_users,)),
                      _read_features(files, layout.USER_FEATURES, spec, "user", n_users),
                      files.ragged(layout.USER_HISTORY, n_users))
    items = _read_features(files, layout.ITEM_FEATURES, spec, "item", n_items)
    tables = {name: files.array(layout.table(name), np.float32, (rows, None))
              for side in table_sizes(encoder) for name, rows in side.items()}
    inner = manifest.levels[:-1]
    tree = Tree(files.array(layout.TREE_ROWS, np.int32, (n_items,)),
                tuple(files.array(layout.level_array("offsets", e.level), np.int32, (e.nodes + 1,)) for e in inner),
                tuple(files.array(layout.level_array("representatives", e.level), np.int32, (e.nodes,)) for e in inner))
    shards = ShardMap.read(files, n_items)
    embeddings = tuple(files.storage(layout.level_array("embeddings", e.level), (e.nodes, e.width)) for e in inner)
    last = manifest.levels[-1]
    embeddings += (files.storage(layout.level_array("embeddings", last.level),
                                 (n_items if shards is None else 0, last.width)),)
    read_index = format_1.read_index if manifest.format_version == 1 else _read_index
    index, keys, postings = read_index(files, encoder, tree, all_item_keys(spec, items))
    nodes: tuple[SpectralVectors, ...] = ()
    if manifest.format_version >= 4:
        towers, nodes = read_spectral(files, tree)
        index = replace(index, spectral=towers, similar=read_similar(files, encoder, n_users))
    return BundleContent(encoder, users, items, tables, tree, embeddings, index, keys, postings, nodes,
                         read_targeting(files, spec), manifest.ensemble, read_bids(files, spec),
                         read_calibrations(files, spec), read_records(files), read_context(files, encoder), shards,
                         read_speculation(files))


def _read_index(files: BundleFiles, encoder: FeatureEncoder, tree: Tree,
                _: Mapping[str, Ragged]) -> tuple[KeyIndex, ItemKeys, tuple[Ragged, ...]]:
    families, starts = encoder.spec.key_families, encoder.key_starts()
    source_starts = np.cumsum([0, *(encoder.sources_of_family(family) for family in families)], dtype=np.int64)
    n_keys = int(starts[-1])
    reach = files.ragged(layout.REACH, int(source_starts[-1]), below=n_keys)
    index = KeyIndex(families, starts, source_starts, reach,
                     files.array(layout.REACH_WEIGHTS, np.float32, (len(reach.values),)))
    item_keys = ItemKeys(len(families), files.ragged(layout.ITEM_KEYS, tree.n_items * len(families), below=n_keys))
    return index, item_keys, tuple(files.ragged(layout.level_postings(level), n_keys, below=tree.size(level))
                                   for level in range(1, tree.depth))


def _read_declaration(files: BundleFiles) -> tuple[FeatureSpec, dict[str, tuple[float, float]]]:
    """The declaration, and mean and standard deviation of each dense field."""
    declared = files.json(layout.FEATURES)
    try:
        raw = declared["spec"]
        scales = {name: (float(mean), float(deviation)) for name, (mean, deviation) in declared["scales"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise files.error(layout.FEATURES, f"does not hold a spec and scales ({error!r})") from error
    spec = FeatureSpec.from_json(raw)
    missing = [name for name in _names(spec, dense=True) if name not in scales]
    if missing:
        raise files.error(layout.FEATURES, f"lacks the scales of {missing}")
    return spec, scales


def _names(spec: FeatureSpec, dense: bool) -> list[str]:
    """Names of the dense fields, or of all others, as `user.<field>`, `item.<field>` and `context.<field>`."""
    return [f"{side}.{entry.name}" for side, fields in (("user", spec.user_fields), ("item", spec.item_fields),
                                                        ("context", spec.model_context))
            for entry in fields if (entry.kind == "dense") == dense]


def _write_features(writer: BundleWriter, prefix: str, features: Features) -> None:
    writer.array(f"{prefix}.dense.npy", features.dense)
    writer.array(f"{prefix}.categorical.npy", features.categorical)
    for m, lists in enumerate(features.multi):
        writer.ragged(f"{prefix}.multi_{m}", lists)


def _read_features(files: BundleFiles, prefix: str, spec: FeatureSpec, side: Literal["user", "item"],
                   rows: int) -> Features:
    return Features(files.array(f"{prefix}.dense.npy", np.float32, (rows, len(spec.fields(side, "dense")))),
                    files.array(f"{prefix}.categorical.npy", np.int32, (rows, len(spec.fields(side, "categorical")))),
                    tuple(files.ragged(f"{prefix}.multi_{m}", rows) for m in range(len(spec.fields(side, "multi")))))


def describe(manifest: Manifest) -> dict[str, Any]:
    """The manifest without its list of files, plus the total size of the files in bytes."""
    entries = asdict(manifest)
    files = entries.pop("files")
    return entries | {"total_bytes": sum(entry["bytes"] for entry in files.values())}
