"""Export: a trained run becomes a sealed bundle, after the exported graphs proved equal to the torch model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store import bundle
from index_store.bundle import BundleWriter, LevelEntry, Manifest, SearchDefaults
from index_store.postings import feature_names
from index_store.store import BundleContent, UserTable, write_content
from index_store.tree import build_tree
from model.batches import Reader
from model.beam_curve import beam_curve, cheapest
from model.config import ConfigError
from model.golden import check_parity, golden_answers, golden_users
from model.hill_em import health, level_postings, node_means
from model.onnx_graphs import onnx_layers, onnx_user_tower, write_graphs
from model.train import Trainer

TOP_K = 100


def export(trainer: Trainer, out: Path, evaluation: Mapping[str, Any]) -> Manifest:
    """Writes the bundle of a run.

    Args:
        trainer: a run whose checkpoint is loaded.
        out: folder to write; it must not exist.
        evaluation: quality to store, besides the beam curve and the tree's health.

    Raises:
        ConfigError: the run has no tree yet.
        ParityError: ONNX and torch differ by more than PARITY on a golden request.
        BundleError: `out` exists.
    """
    if trainer.codes is None:
        raise ConfigError(f"run {trainer.run.path} has no tree yet; resume the training until its first EM round")
    model = trainer.model.cpu().eval()
    content = assemble(trainer, trainer.codes)
    writer = BundleWriter(out)
    try:
        write_content(writer, content)
        write_graphs(writer, model, content.encoder.spec)
        layers, tower = onnx_layers(writer.path(bundle.SCORER)), onnx_user_tower(writer.path(bundle.USER_TOWER))
        users = golden_users(content)
        parity = check_parity(content, model, tower, layers, users)
        writer.json(bundle.GOLDEN, golden_answers(content, model, users))
        curve = beam_curve(content, tower, layers, trainer.config.seed)
        default = cheapest(curve)
        writer.json(bundle.EVALUATION, {**evaluation, "parity": parity,
                                        "beam_curve": [asdict(point) for point in curve],
                                        "tree": [asdict(level) for level in health(content.tree, trainer.branching)]})
        spec, depth = content.encoder.spec, content.tree.depth
        return writer.seal(
            dims={"user_embedding": trainer.config.model.user_embedding,
                  "item_embedding": trainer.config.model.item_embedding, "interaction": len(feature_names(spec))},
            tasks=tuple(task.name for task in spec.tasks), calibrated=spec.negatives == "impressions",
            levels=tuple(LevelEntry(level, content.tree.size(level), bundle.SCORER) for level in range(1, depth + 1)),
            counts={"items": content.tree.n_items, "users": len(content.users.ids)},
            search=SearchDefaults(tuple(min(default.beam_width, content.tree.size(level)) for level in range(1, depth)),
                                  TOP_K))
    finally:
        writer.discard()


def assemble(trainer: Trainer, codes: NDArray[np.int32]) -> BundleContent:
    """Everything that the search reads, with count tables over all users and the item tower's last embeddings."""
    dataset, model = trainer.dataset, trainer.model
    reader = Reader(dataset, model)
    everyone = np.arange(len(dataset.user_ids))
    families = trainer.everyone
    vectors = reader.all_items()
    tree = build_tree(codes, vectors)
    offsets = model.level_offsets.detach().cpu().numpy()
    nodes = [means + offset for means, offset in zip(node_means(tree, vectors), offsets, strict=True)]
    tables = {name: weight.cpu().numpy() for name, weight in
              (model.user_tables.arrays() | model.item_tables.arrays()).items()}
    users = UserTable(dataset.user_ids, dataset.users,
                      trainer.clicks.histories(everyone, dataset.spec.history_length))
    return BundleContent(dataset.encoder, users, dataset.items, tables, tree, (*nodes, vectors[tree.rows]), families,
                         tuple(level_postings(tree, families, level, trainer.config.node_features)
                               for level in range(1, tree.depth)))
