"""Item and query vectors of a two-tower bundle, trained with `--over-arch dot`: its scores as inner products.

The bundle's scorer is bilinear in the user and item embeddings, so scoring all unit vectors once yields its matrix; a
user's query vector is the user embedding times that matrix. Nothing else about the scorer is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import Bundle
from index_store.search.ranking import first_task_weights
from index_store.search.scoring import DenseLayers, Storage
from index_store.tree.tree import Tree
from loadtest.bench.queries import check_same_world, encoded
from model.data.tables import DataError
from service.contract.query import EncodedUser
from service.retrieval.retriever import Retriever

TOLERANCE = 1e-3
"""Largest difference between inner product and the scorer's own score, as a share of the scores' range."""


@dataclass(frozen=True)
class TwoTower:
    """Item and query vectors of two towers, items in the order of another bundle's tree.

    Attributes:
        retriever: of the two-tower bundle.
        vectors: (n_items, D) float32, by position in the other bundle's tree.
        bilinear: (Du, D) float32: user embedding @ bilinear = query vector.
    """

    retriever: Retriever
    vectors: NDArray[np.float32]
    bilinear: NDArray[np.float32]

    @classmethod
    def of(cls, opened: Bundle, ranking: Bundle) -> TwoTower:
        """Reads the vectors.

        Args:
            opened: a bundle of two towers.
            ranking: the bundle whose scorer reranks what they find.

        Raises:
            DataError: the bundles have different ads or users, the first one is a stack, or its score is not an inner
                product.
        """
        scorers = opened.manifest.scorers
        if len(scorers) > 1:
            raise DataError(f"bundle {opened.bundle_id} is a stack of {len(scorers)} scorers: an ad's score "
                            "includes those of nodes above it and is not an inner product of two towers; give a bundle "
                            "that was trained with --over-arch dot and without --stack")
        content = opened.content
        check_same_world(ranking, content.encoder.item_ids, content.users.ids, "the two-tower bundle",
                         "train both on one data folder")
        retriever = Retriever(opened)
        own, tree = content.tree, ranking.content.tree
        vectors = np.asarray(content.embeddings[-1], np.float32)
        towers = cls(retriever, np.ascontiguousarray(vectors[own.position_of_row[tree.rows]]),
                     _bilinear(retriever.scorer.layers[-1], opened))
        towers._check(opened, tree)
        return towers

    def query(self, user: EncodedUser) -> NDArray[np.float32]:
        """Query vector (D,) of an encoded user: a larger inner product means a better ad."""
        vector: NDArray[np.float32] = (self.retriever.embed(self.retriever.tower_input(user)) @ self.bilinear)[0]
        return vector

    def _check(self, opened: Bundle, tree: Tree, users: int = 8, items: int = 256) -> None:
        """Compares inner products with the bundle's own scores, which may differ by a constant per user."""
        random = np.random.default_rng(0)
        own, scorer = opened.content.tree, self.retriever.scorer
        rows = random.permutation(own.n_items)[:items]
        for row in random.permutation(len(opened.content.users.ids))[:users]:
            user = encoded(opened, row)
            logits = scorer.score(self.retriever.query(user), own.depth, own.position_of_row[rows].astype(np.int64))
            scores = logits @ first_task_weights(len(opened.manifest.tasks))
            gap = scores - self.vectors[tree.position_of_row[rows]] @ self.query(user)
            if np.ptp(gap) > TOLERANCE * max(float(np.ptp(scores)), 1e-6):
                raise DataError(f"bundle {opened.bundle_id} does not score by an inner product: its scores span "
                                f"{np.ptp(scores):.3g} and differ from inner products by {np.ptp(gap):.3g}; give a "
                                "bundle that was trained with --over-arch dot")


def _bilinear(layers: DenseLayers, opened: Bundle) -> NDArray[np.float32]:
    """(Du, D): the score of each unit user with each unit item, less that of the same user with a zero item."""
    dims = opened.manifest.dims
    width = opened.manifest.levels[-1].width
    units: Storage = np.eye(width + 1, width, dtype=np.float32)  # the last one is the zero item
    if opened.content.embeddings[-1].dtype == np.float16:
        units = units.astype(np.float16)
    pair = np.zeros((len(units), dims["interaction"]), np.float32)
    weights = first_task_weights(len(opened.manifest.tasks))
    scores = np.stack([layers(user[None], units, pair) @ weights
                       for user in np.eye(dims["user_embedding"], dtype=np.float32)])
    return scores[:, :-1] - scores[:, -1:]
