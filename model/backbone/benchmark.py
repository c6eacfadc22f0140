"""The public benchmark: all variants are measured in one pass over the users and share the costly neighbour terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.tree.tree import Tree
from model.backbone import beam, model, ranking
from model.backbone.features import PairFeatures
from model.backbone.interactions import Matrix, lengths
from model.backbone.model import Backbone
from model.backbone.neighbours import Neighbours
from model.backbone.spectral import Towers


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        recall: Recall@20, mean over users with test items.
        ndcg: NDCG@20, the same.
        pairs: scored by the over-arch for a user, mean.
    """

    recall: float
    ndcg: float
    pairs: float


def users_of(test: Matrix) -> NDArray[np.int64]:
    """Rows of the users with test items, over whom means are taken."""
    return np.flatnonzero(lengths(test)).astype(np.int64)


def judge(backbone: Backbone, neighbours: Neighbours, test: Matrix, towers: Mapping[str, Towers],
          served: str | None, tree: Tree, widths: Sequence[int]) -> dict[str, Row]:
    """Ranks all users with test items by every variant.

    Args:
        backbone: its over-arch ranks in all variants; its towers choose the candidates of all but the beam.
        neighbours: of the train pairs.
        test: (users, items) test pairs.
        towers: further variants by name: the same candidates, other towers.
        served: name of the variant that searches with the beam, or None to leave it out.
        tree: of the beam.
        widths: of the beam.

    Returns:
        A row for "", the backbone itself, and for every name.
    """
    train, users = neighbours.train, users_of(test)
    own = PairFeatures(train, neighbours, backbone.towers)
    others = {name: PairFeatures(train, neighbours, variant) for name, variant in towers.items()}
    tops: dict[str, list[NDArray[np.int64]]] = {name: [] for name in ("", *others, *([served] if served else []))}
    pairs = dict.fromkeys(tops, 0)
    for chosen in model.blocks(users, backbone.config.block, "users"):
        block = own.block(chosen)
        rows, items = model.candidates(block, backbone.config.candidates)
        tops[""].append(model.rank(backbone.head, block, rows, items))
        pairs[""] += len(rows)
        for name, features in others.items():
            scored = backbone.head.score(features.inputs(block, chosen, rows, items))
            tops[name].append(model.top_of(scored, block.own.shape, rows, items))
            pairs[name] += len(rows)
        if served:
            found, cost = beam.search(backbone.head, block, tree, widths)
            tops[served].append(found)
            pairs[served] += int(cost.sum())
    result = {}
    for name, found_by in tops.items():
        reached = ranking.quality(np.concatenate(found_by), test[users])
        result[name] = Row(reached.recall, reached.ndcg, pairs[name] / len(users))
    return result
