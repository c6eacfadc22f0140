"""Item and query vectors of a two-tower bundle, trained with `--over-arch dot`: its scores as inner products.

The bundle's scorer is bilinear in the user and item embeddings, so scoring all unit vectors once yields its matrix, and
linear in the spectral products, so scoring one of each yields their weights. A user's query vector is the user
embedding times that matrix beside the weighted spectral vectors. Nothing else about the scorer is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index_store.bundle.bundle import Bundle
from index_store.features.spectral import PRODUCTS, RAW_OFFSET, RELATIVE_FACTOR, SPECTRAL_FEATURES
from index_store.search.ranking import first_task_weights
from index_store.search.scoring import DenseLayers, Storage
from index_store.tree.tree import Tree
from loadtest.rivals.queries import check_same_world, encoded
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
        bilinear: (Du, Di) float32: user embedding @ bilinear = the query vector's part for the item embeddings.
        linear: (len(SPECTRAL_FEATURES),) float32 weights of the spectral features as numbers; empty in a bundle
            without spectral towers.
    """

    retriever: Retriever
    vectors: NDArray[np.float32]
    bilinear: NDArray[np.float32]
    linear: NDArray[np.float32]

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
        if opened.manifest.ensemble:
            raise DataError(f"bundle {opened.bundle_id} is a stack of {len(opened.manifest.scorers)} scorers: an ad's "
                            "score includes those of nodes above it and is not an inner product of two towers; give a "
                            "bundle that was trained with --over-arch dot and without --stack")
        content = opened.content
        check_same_world(ranking, content.encoder.item_ids, content.users.ids, "the two-tower bundle",
                         "train both on one data folder")
        retriever = Retriever(opened)
        own, tree = content.tree, ranking.content.tree
        parts = [np.asarray(content.embeddings[-1], np.float32)]
        for spectral in retriever.scorer.spectral[-1:]:
            parts += [spectral.dense(), spectral.popularity[:, None]]
        vectors, score = np.concatenate(parts, axis=1), retriever.scorer.layers[-1]
        towers = cls(retriever, vectors[own.position_of_row[tree.rows]], _bilinear(score, opened),
                     _linear(score, opened) if len(parts) > 1 else np.empty(0, np.float32))
        towers._check(opened, tree)
        return towers

    def query(self, user: EncodedUser) -> NDArray[np.float32]:
        """Query vector (D,) of an encoded user: a larger inner product means a better ad."""
        query = self.retriever.query(user)
        parts = [(query.embedding @ self.bilinear)[0]]
        if query.spectral is not None:
            parts += [query.spectral.weighted_sum(self.linear[:PRODUCTS])[0], self.linear[PRODUCTS:PRODUCTS + 1]]
        return np.concatenate(parts)

    def _check(self, opened: Bundle, tree: Tree, users: int = 8, items: int = 256) -> None:
        """Compares inner products with the bundle's own scores, which may differ by a constant per user.

        Ads with a spectral product of zero do not count: the scorer takes those below zero for it.
        """
        random = np.random.default_rng(0)
        own, scorer = opened.content.tree, self.retriever.scorer
        rows = random.permutation(own.n_items)[:items]
        for row in random.permutation(len(opened.content.users.ids))[:users]:
            user = encoded(opened, row)
            query, at = self.retriever.query(user), own.position_of_row[rows].astype(np.int64)
            if query.spectral is not None:
                products = query.spectral.features(scorer.spectral[-1], at)[0, :, :PRODUCTS - 1]
                at = at[(products > 0).all(axis=1)]
            if not len(at):
                continue
            scores = scorer.score(query, own.depth, at) @ first_task_weights(len(opened.manifest.tasks))
            gap = scores - self.vectors[tree.position_of_row[own.rows[at]]] @ self.query(user)
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


def _linear(layers: DenseLayers, opened: Bundle) -> NDArray[np.float32]:
    """(len(SPECTRAL_FEATURES),): what one of each spectral feature, as a number, adds to the score of any pair."""
    dims, count = opened.manifest.dims, len(SPECTRAL_FEATURES)
    numbers = np.eye(count + 1, count, dtype=np.float32)  # the last one is the pair without any
    pairs = np.zeros((count + 1, dims["interaction"]), np.float32)
    pairs[:, -count:] = numbers
    products = pairs[:, -count:][:, :PRODUCTS]
    products[:, :-1] = np.log1p(RELATIVE_FACTOR * products[:, :-1])
    products[:, -1] = np.log(RAW_OFFSET + products[:, -1])
    items = np.zeros((count + 1, opened.manifest.levels[-1].width), opened.content.embeddings[-1].dtype)
    scores = (layers(np.zeros((1, dims["user_embedding"]), np.float32), items, pairs)
              @ first_task_weights(len(opened.manifest.tasks)))
    weights: NDArray[np.float32] = scores[:-1] - scores[-1]
    return weights
