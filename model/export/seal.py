"""Export of a run into a sealed bundle, after a check that the exported graphs match the torch model."""

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
from index_store.bundle.folded_files import kernel_of, write_folded
from index_store.bundle.manifest import LevelEntry, Manifest, SearchDefaults
from index_store.compiled.library import library
from index_store.features.interaction import feature_names
from index_store.kernel.pair_kernel import PairKernel
from index_store.search.scoring import Storage
from index_store.speculation.adapter import Speculation
from index_store.targeting.targeting import AdTargeting
from index_store.tree.node_content import level_postings, level_vectors, node_means
from index_store.tree.tree import build_tree
from index_store.value.bids import AdBids
from index_store.value.calibration import Calibrations
from index_store.value.track_records import CLICKS, IMPRESSIONS, MOST
from model.config.errors import ConfigError
from model.export.beam_tuning import default_of, tune_beam
from model.export.calibrate import calibrate, calibrations_of
from model.export.embedded import embedded
from model.export.golden import check_parity, golden_answers, golden_users, user_input
from model.export.onnx_graphs import onnx_layers, onnx_user_tower, write_graphs, write_pair_embedding
from model.network.folding import FoldedNetwork
from model.progress.range_workers import HERE, RangeWorkers
from model.progress.ranges import ranges_of
from model.runs.run import Run
from model.speculation.fitting import fit_speculation
from model.speculation.foundation import check_foundation, interaction_width, model_hash
from model.tree.health import health

TOP_K = 100
_BLOCK = 1 << 16


def export(run: Run, out: Path, evaluation: Mapping[str, Any], *, half: bool = True,
           changes_included: int = 0, change_log_id: str = "", calibrated_on: Run | None = None,
           workers: RangeWorkers = HERE, foundation: Sequence[Run] = (), as_foundation: bool = False) -> Manifest:
    """Writes the bundle of a run.

    Args:
        run: with a tree.
        out: folder to write; it must not exist.
        evaluation: quality to store, besides the beam curve and the tree's health.
        half: store embeddings as float16, half the bytes; scores then differ by up to HALF_SCORE_TOLERANCE instead of
            SCORE_TOLERANCE.
        changes_included: sequence number of the last change of the change log that the run's data include.
        change_log_id: of that log; empty if it is not known.
        calibrated_on: the run with the test events that its probabilities are calibrated on; None for the run itself.
        workers: who embeds ranges of items.
        foundation: the runs of the foundation model whose stored pairs the bundle uses; none for none.
        as_foundation: whether to write the graph of a foundation model as well.

    Raises:
        ConfigError: the run has no tree yet, that number is negative, a log is named and no change of it, or the run
            cannot be a foundation model.
        ParityError: graphs or kernel differ from torch by more than `score_tolerance` on a golden request.
        BundleError: `out` exists.
    """
    if changes_included < 0:
        raise ConfigError(f"the last change that the data include cannot be {changes_included}; give its sequence "
                          "number, or 0 for none")
    if change_log_id and not changes_included:
        raise ConfigError(f"the data include no change of change log {change_log_id}; give the number of the last one "
                          "that they include, or leave the log out")
    if as_foundation:
        check_foundation(run)
    model = run.model.cpu().eval()
    original = assemble(run, workers=workers)
    folded = FoldedNetwork(model)
    fitted = calibrate(calibrated_on or run)
    calibrations = None if fitted is None else calibrations_of(fitted)
    content = replace(original, embeddings=item_parts(folded, original.embeddings, half), calibrations=calibrations,
                      context=None if original.context is None else folded.context_parts(original.context),
                      speculation=_speculation(run, foundation, calibrations))
    writer = BundleWriter(out)
    try:
        write_content(writer, content)
        write_graphs(writer, model, folded, content.encoder.spec, half)
        if as_foundation:
            writer.json(layout.FOUNDATION, {"model": model_hash(model), "width": interaction_width(model)})
            write_pair_embedding(writer, model, folded, content.encoder.spec, half)
        kernels = _write_kernels(writer, folded)
        scorers = [layout.scorer(at + 1) for at in range(len(folded.scorers))]
        graphs = [onnx_layers(writer.path(name)) for name in scorers]
        layers = [kernel or graph for graph, kernel in zip(graphs, kernels, strict=True)]
        tower = onnx_user_tower(writer.path(layout.USER_TOWER))
        users = golden_users(content)
        parity = check_parity(content, original, model, tower, [graphs, layers] if any(kernels) else [graphs], users)
        writer.json(layout.GOLDEN, golden_answers(original, model, users))
        del original  # its embeddings take as much memory as all parts
        tuning = tune_beam(content, tower, layers, run.config.seed)
        calibration = None if fitted is None else {task: dict(one.measured) for task, one in fitted.items()}
        writer.json(layout.EVALUATION, {**evaluation, "parity": parity, "calibration": calibration,
                                        "beam_curve": [asdict(point) for point in tuning.points],
                                        "ecpm_curve": [asdict(point) for point in tuning.by_ecpm],
                                        "beam_curve_users": list(tuning.users),
                                        "tree": [asdict(level) for level in health(content.tree,
                                                                                   run.config.branching)]})
        embedding = tower(user_input(content, users[0].features, users[0].history))
        named = [scorers[model.scorer_of(level)] for level in (*range(1, content.tree.depth), None)]
        return _seal(writer, content, embedding.shape[1], named, default_of(tuning.points).beam_width,
                     {"changes_included": changes_included, "change_log_id": change_log_id})
    finally:
        writer.discard()


def _speculation(run: Run, foundation: Sequence[Run], calibrations: Calibrations | None) -> Speculation | None:
    """What a foundation model adds; None without one."""
    if not foundation:
        return None
    assert calibrations is not None, "a run that may use a foundation model has impressions and test events"
    return fit_speculation(run, foundation, calibrations)


def _write_kernels(writer: BundleWriter, folded: FoldedNetwork) -> list[PairKernel | None]:
    """Writes the arrays of the scorers that the compiled kernel knows; the kernels, as far as it can run here."""
    kernels: list[PairKernel | None] = []
    for layer, weights in enumerate(folded.weights(), start=1):
        if weights is not None:
            write_folded(writer, layer, weights)
        kernels.append(kernel_of(weights, library()))
    return kernels


def _seal(writer: BundleWriter, content: BundleContent, user_embedding: int, scorers: Sequence[str],
          beam_width: tuple[int, ...], position: Mapping[str, Any]) -> Manifest:
    """Writes the manifest, with the scorer of each level, the items last, and a position in the change log."""
    spec, tree, depth = content.encoder.spec, content.tree, content.tree.depth
    levels = tuple(LevelEntry(level, tree.size(level), scorers[level - 1],
                              content.embeddings[level - 1].shape[1], level in (*content.ensemble, depth))
                   for level in range(1, depth + 1))
    return writer.seal(dims={"user_embedding": user_embedding, "interaction": len(feature_names(spec))},
                       tasks=tuple(task.name for task in spec.tasks), calibrated=spec.negatives == "impressions",
                       levels=levels, counts={"items": tree.n_items, "users": len(content.users.ids)},
                       search=SearchDefaults(beam_width, TOP_K), **position)


def item_parts(folded: FoldedNetwork, embeddings: Sequence[Storage], half: bool) -> tuple[Storage, ...]:
    """The item parts of every node that the folded scorers read, level by level, items last."""
    def read(level: int | None, nodes: Storage) -> Storage:
        width = folded.item_part(torch.from_numpy(nodes[:1]), level).shape[1]
        shape = len(nodes), width
        parts: Storage = np.empty(shape, np.float16) if half else np.empty(shape, np.float32)
        for block in ranges_of(len(nodes), _BLOCK):
            parts[block.rows] = folded.item_part(torch.from_numpy(nodes[block.rows]), level).numpy()
        return parts

    with torch.no_grad():
        return (*(read(level, nodes) for level, nodes in enumerate(embeddings[:-1], start=1)),
                read(None, embeddings[-1]))


def assemble(run: Run, codes: NDArray[np.int32] | None = None, workers: RangeWorkers = HERE) -> BundleContent:
    """The content of a bundle, with counts over all users and the embeddings of the item tower, before folding.

    Args:
        run: with a tree.
        codes: of another tree over the same items, whose nodes are the means of their members; None for the run's own.
        workers: who embeds ranges of items.

    Raises:
        ConfigError: the run has no tree yet.
    """
    dataset, model, reader = run.dataset, run.model, run.reader
    vectors = embedded(reader, workers)
    if codes is None:
        tree, virtual = run.tree.build(vectors)
    else:
        tree = build_tree(codes, vectors)
        virtual = node_means(tree, vectors)
    offsets = model.level_offsets.detach().cpu().numpy()
    nodes = [embeddings + offset for embeddings, offset in zip(virtual, offsets, strict=True)]
    tables = {name: weight.cpu().numpy() for name, weight in
              (model.user_tables.arrays() | model.item_tables.arrays()).items()}
    all_users = np.arange(len(dataset.user_ids))
    users = UserTable(dataset.user_ids, dataset.users, run.clicks.histories(all_users))
    predicates = dataset.targeting
    targeting = AdTargeting.of(dataset.encoder, predicates.distinct,
                               predicates.of_row[tree.rows]) if predicates is not None else None
    postings = tuple(level_postings(tree, run.key_index, reader.keys_of_row, level, run.config.node_features)
                     for level in range(1, tree.depth))
    towers = run.key_index.spectral
    assert towers is not None
    spectral = tuple(level_vectors(tree, towers.items, level) for level in range(1, tree.depth))
    index = replace(run.key_index, spectral=towers.ordered(tree.rows, tree.position_of_row))
    vectors = vectors[tree.rows]
    return BundleContent(dataset.encoder, users, dataset.items, tables, tree, (*nodes, vectors), index,
                         reader.keys_of_row.take(tree.rows), postings, spectral, targeting, model.ensemble,
                         None if dataset.bids is None else AdBids(*dataset.bids.at(tree.rows)),
                         records=_records(run)[tree.rows],
                         context=None if model.context is None else model.context.arrays())


def _records(run: Run) -> NDArray[np.int64]:
    """Impressions and clicks (n_items, 2) of the ads in all events, test events too, by item row.

    The click is the task that CPC bids pay for, or else the first. In a log of positives each is an impression, too.
    """
    dataset, n = run.dataset, len(run.dataset.items)
    click, counts = dataset.spec.paid.get("CPC") or 0, np.zeros((n, 2), np.int64)
    for events in (dataset.train, dataset.test):
        if events is not None:
            counts[:, IMPRESSIONS] += np.bincount(events.items, minlength=n)
            counts[:, CLICKS] += np.bincount(events.items[events.labels[:, click] == 1], minlength=n)
    return np.minimum(counts, MOST)
