"""Export: a trained run becomes a sealed bundle, after the exported graphs proved equal to the torch model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from index_store.bundle import layout
from index_store.bundle.bundle import BundleContent, UserTable, write_content
from index_store.bundle.files import BundleWriter
from index_store.bundle.manifest import LevelEntry, Manifest, SearchDefaults
from index_store.features.interaction import feature_names
from index_store.search.scoring import Storage, layer_of_level
from index_store.targeting.targeting import AdTargeting
from index_store.tree.node_content import level_postings, node_means
from index_store.tree.tree import build_tree
from model.examples.batches import Reader
from model.export.beam_tuning import tune_beam
from model.export.golden import check_parity, golden_answers, golden_users, user_input
from model.export.onnx_graphs import onnx_layers, onnx_user_tower, write_graphs
from model.network.folding import Split
from model.training.trainer import Trainer
from model.tree.health import health

TOP_K = 100
_BLOCK = 1 << 16


def export(trainer: Trainer, out: Path, evaluation: Mapping[str, Any], *, half: bool = False) -> Manifest:
    """Writes the bundle of a run.

    Args:
        trainer: a run whose checkpoint is loaded.
        out: folder to write; it must not exist.
        evaluation: quality to store, besides the beam curve and the tree's health.
        half: store embeddings as float16, half the bytes; scores then differ by up to HALF_SCORE_TOLERANCE.

    Raises:
        ConfigError: the run has no tree yet.
        ParityError: ONNX and torch differ by more than `score_tolerance` on a golden request.
        BundleError: `out` exists.
    """
    model = trainer.model.cpu().eval()
    original = assemble(trainer)
    parts = Split(model)
    content = replace(original, embeddings=item_parts(parts, original.embeddings, half))
    writer = BundleWriter(out)
    try:
        write_content(writer, content)
        write_graphs(writer, model, parts, content.encoder.spec, half)
        scorers = [layout.scorer(at + 1) for at in range(len(model.layers))]
        layers = [onnx_layers(writer.path(name)) for name in scorers]
        tower = onnx_user_tower(writer.path(layout.USER_TOWER))
        users = golden_users(content)
        parity = check_parity(content, original, model, tower, layers, users)
        writer.json(layout.GOLDEN, golden_answers(original, model, users))
        tuning = tune_beam(content, tower, layers, trainer.config.seed)
        writer.json(layout.EVALUATION, {**evaluation, "parity": parity,
                                        "beam_curve": [asdict(point) for point in tuning.points],
                                        "beam_curve_users": list(tuning.users),
                                        "tree": [asdict(level) for level in health(content.tree, trainer.branching)]})
        spec, depth = content.encoder.spec, content.tree.depth
        return writer.seal(
            dims={"user_embedding": tower(user_input(content, users[0].features, users[0].history)).shape[1],
                  "interaction": len(feature_names(spec))},
            tasks=tuple(task.name for task in spec.tasks), calibrated=spec.negatives == "impressions",
            levels=tuple(LevelEntry(level, content.tree.size(level), scorers[layer_of_level(model.ensemble, level)],
                                    content.embeddings[level - 1].shape[1], level in (*model.ensemble, depth))
                         for level in range(1, depth + 1)),
            counts={"items": content.tree.n_items, "users": len(content.users.ids)},
            search=SearchDefaults(tuning.default.beam_width, TOP_K))
    finally:
        writer.discard()


def item_parts(parts: Split, embeddings: Sequence[Storage], half: bool) -> tuple[Storage, ...]:
    """What the split scorers read of every node, level by level, items last."""
    def read(level: int | None, nodes: Storage) -> Storage:
        with torch.no_grad():
            return np.concatenate([parts.item_part(torch.from_numpy(block), level).numpy().astype(
                np.float16 if half else np.float32) for block in np.array_split(nodes, -(-len(nodes) // _BLOCK))])

    return (*(read(level, nodes) for level, nodes in enumerate(embeddings[:-1], start=1)), read(None, embeddings[-1]))


def assemble(trainer: Trainer, codes: NDArray[np.int32] | None = None) -> BundleContent:
    """Everything that the search reads, with count tables over all users and the item tower's last embeddings.

    The embeddings are those that the torch model scores, before `split` takes its part of them.

    Args:
        trainer: a run with a tree.
        codes: of another tree over the same items, whose nodes are the means of their members; None for the run's own.
    """
    dataset, model = trainer.dataset, trainer.model
    reader = Reader(dataset, model)
    everyone = np.arange(len(dataset.user_ids))
    vectors = reader.all_items()
    if codes is None:
        tree, virtual = trainer.learner.tree(vectors)
    else:
        tree = build_tree(codes, vectors)
        virtual = node_means(tree, vectors)
    offsets = model.level_offsets.detach().cpu().numpy()
    nodes = [embeddings + offset for embeddings, offset in zip(virtual, offsets, strict=True)]
    tables = {name: weight.cpu().numpy() for name, weight in
              (model.user_tables.arrays() | model.item_tables.arrays()).items()}
    users = UserTable(dataset.user_ids, dataset.users,
                      trainer.clicks.histories(everyone, dataset.spec.history_length))
    asked = dataset.targeting
    targeting = AdTargeting.of(dataset.encoder, asked.distinct, asked.of_row[tree.rows]) if asked is not None else None
    return BundleContent(dataset.encoder, users, dataset.items, tables, tree, (*nodes, vectors[tree.rows]),
                         trainer.everyone, reader.keys_of_row.take(tree.rows),
                         tuple(level_postings(tree, trainer.everyone, reader.keys_of_row, level,
                                              trainer.config.node_features) for level in range(1, tree.depth)),
                         targeting, model.ensemble)
