"""Quality of a run's tree compared with other trees over the same model: overlap against pairs scored.

Three trees are compared: the run's own, a k-means tree on score profiles (the E-step), and a k-means tree on the item
tower's outputs, the control that any trained model gives for free. Each has two curves, with nodes scored by the model
and by an oracle that scores a node by its best member: what the oracle misses is due to the tree.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from index_store.search.beam_curve import BeamPoint
from model.export.beam_tuning import beam_curve, sample_users, score_users
from model.export.seal import assemble, item_parts
from model.network.folding import FoldedNetwork, torch_layers
from model.runs.run import Run
from model.tree.k_means import learn_codes
from model.tree.profiles import ProfileUsers, score_profiles

SHARES = (0.01, 0.02, 0.05)
"""Pairs of a search as shares of the ads, at which overlap is read off a curve."""


@dataclass(frozen=True)
class TreeCurves:
    """Overlap of beams on one tree.

    Attributes:
        nodes: of each level above the items.
        items: of the tree.
        scorer: curve with nodes scored by the model.
        oracle: curve with nodes scored by their best member's score.
    """

    nodes: tuple[int, ...]
    items: int
    scorer: tuple[BeamPoint, ...]
    oracle: tuple[BeamPoint, ...]


def compare_trees(run: Run) -> dict[str, Any]:
    """Overlap@100 with the exhaustive search of the same scorer, at SHARES of its pairs.

    Returns:
        Tree -> `nodes` of each level, and `scorer` and `oracle`: share -> overlap, None where no beam is as
        cheap.

    Raises:
        ConfigError: the run has no tree yet.
    """
    return {name: {"nodes": list(curves.nodes), "scorer": _at_shares(curves.scorer, curves.items),
                   "oracle": _at_shares(curves.oracle, curves.items)} for name, curves in tree_curves(run).items()}


def tree_curves(run: Run) -> dict[str, TreeCurves]:
    """The curves of the run's tree, by its kind, and of two k-means trees over the same model.

    Raises:
        ConfigError: the run has no tree yet.
    """
    model = run.model.cpu().eval()
    folded = FoldedNetwork(model)
    branching, seed = run.config.branching, run.config.seed

    def tower(user_input: NDArray[np.float32]) -> NDArray[np.float32]:
        inputs, layers = torch.from_numpy(user_input), [model.layer(at) for at in range(len(model.layers))]
        with torch.no_grad():
            users = torch.cat([layer.embed_users(inputs) for layer in layers], dim=1)
            parts: NDArray[np.float32] = folded.user_part(users).numpy()
        return parts

    users = ProfileUsers(run.clicks, run.key_index, np.arange(len(run.dataset.user_ids)))
    # Not the folder in which an interrupted training keeps its ranges.
    with tempfile.TemporaryDirectory(prefix="trees-", dir=run.folder.path) as scratch:
        profiles = score_profiles(run.reader, users, seed, Path(scratch) / "ranges")
        trees: dict[str, NDArray[np.int32] | None] = {
            run.config.tree: None, "k-means on score profiles": learn_codes(profiles, branching, seed),
            "k-means on item embeddings": learn_codes(run.reader.all_items(), branching, seed)}
    report: dict[str, TreeCurves] = {}
    for name, codes in trees.items():
        content = assemble(run, codes)
        content = replace(content, embeddings=item_parts(folded, content.embeddings, half=False),
                          context=None if content.context is None else folded.context_parts(content.context))
        scored = score_users(content, tower, torch_layers(folded.scorers), sample_users(content, seed))
        report[name] = TreeCurves(tuple(content.tree.size(level) for level in range(1, content.tree.depth)),
                                  content.tree.n_items, beam_curve(content.tree, scored),
                                  beam_curve(content.tree, [user.by_oracle() for user in scored]))
    return report


def _at_shares(points: Sequence[BeamPoint], items: int) -> dict[str, float | None]:
    """The curve at SHARES of the items."""
    curve = [(point.pairs, point.overlap) for point in points]
    return {f"{share:.0%}": at_pairs(curve, share * items) for share in SHARES}


def at_pairs(curve: Sequence[Sequence[float]], pairs: float) -> float | None:
    """Overlap at some pairs, on straight lines between the points (pairs, overlap); None if no beam is as cheap.

    A beam has to reach the 100 items that it returns, by a first level that is scored whole.
    """
    costs, overlaps = zip(*curve, strict=True)
    return float(np.interp(pairs, costs, overlaps)) if pairs >= costs[0] else None
