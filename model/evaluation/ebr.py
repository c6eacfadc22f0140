"""Embedding-based retrieval: the two towers of a `--over-arch dot` run behind a FAISS index, the paper's EBR baseline.

The inverted file answers by inner product, so it finds what the exhaustive search over the two towers (TTSN) finds,
except for items in cells that were not probed. Nothing is reranked. Cost is counted as for all searches: pairs scored
times the operations per pair, here 2 D for an inner product, including those with the centres of the cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from index_store.features.postings import KeyIndex
from index_store.features.ragged import Ragged
from index_store.features.spectral import PRODUCTS
from model.examples.batches import BatchReader, spectral_towers_of
from model.examples.clicks import Clicks
from model.network.over_arch import DotProduct
from model.network.towers import ProductTower

PROBED = (0.02, 0.05, 0.1, 0.2, 1.0)
"""Shares of the cells that are probed; with all of them the search is exhaustive."""

FEWEST_VECTORS = 4
"""Least mean number of vectors in a cell, which limits the cells of small catalogues."""

_BLOCK = 512


def embedding_retrieval(reader: BatchReader, clicks: Clicks, index: KeyIndex, users: NDArray[np.integer],
                        targets: Ragged, masked: Ragged, at: Sequence[int]) -> list[dict[str, Any]]:
    """Recall and cost of EBR; the last row, with all cells, is TTSN.

    Args:
        reader: of a two-tower model in eval mode.
        clicks: train clicks, the histories.
        index: with the spectral towers, of which the score is made too.
        users: (N,) users to ask.
        targets: N lists of items to find, none empty.
        masked: N lists of items that must not be returned.
        at: cut-offs K.

    Returns:
        For each share of PROBED: `probed` cells, mean `pairs` and `flops` of a query, `recall@K` by K. Nothing without
        users.

    Raises:
        TypeError: the model has another over-arch.
    """
    layer = reader.model.layer(-1)
    over_arch, products = layer.over_arch, layer.interaction_tower
    if not isinstance(over_arch, DotProduct) or not isinstance(products, ProductTower):
        raise TypeError(f"the over-arch is {type(over_arch).__name__}, which ranks by more than an inner product; "
                        "EBR needs --over-arch dot")
    if not len(users):
        return []
    queries, vectors = _query_vectors(reader, over_arch, products, clicks, index, users), _item_vectors(reader, index)
    inverted = _inverted_file(vectors)
    cells, wanted = inverted.nlist, min(len(vectors), max(at) + int(masked.lengths.max(initial=0)))
    sizes = np.array([inverted.invlists.list_size(cell) for cell in range(cells)])
    rows = []
    for share in PROBED:
        inverted.nprobe = max(1, round(share * cells))
        _, found = inverted.search(queries, wanted)
        _, probed = inverted.quantizer.search(queries, inverted.nprobe)
        pairs = float(cells + sizes[probed].sum(axis=1).mean())
        hits = np.zeros((len(users), len(at)))
        for user, items in enumerate(found):
            kept = items[(items >= 0) & ~np.isin(items, masked.row(user))]
            hits[user] = [np.isin(targets.row(user), kept[:k]).mean() for k in at]
        rows.append({"probed": inverted.nprobe, "pairs": pairs, "flops": pairs * 2 * vectors.shape[1],
                     **{f"recall@{k}": float(hit) for k, hit in zip(at, hits.mean(axis=0), strict=True)}})
    return rows


def _query_vectors(reader: BatchReader, over_arch: DotProduct, products: ProductTower, clicks: Clicks, index: KeyIndex,
                   users: NDArray[np.integer]) -> NDArray[np.float32]:
    """Vectors (N, D) of users, weighted so that the inner product with an item's is the score, but for a constant.

    They are the outputs of the user tower, the spectral vectors, and the weight of an item's popularity.
    """
    weights = products.linear_weights()[0].detach().cpu().numpy()
    blocks = []
    for block in np.array_split(users, -(-len(users) // _BLOCK)):
        with torch.no_grad():
            batch = reader.users(reader.dataset.users.take(block), clicks.histories(block), index)
            tower = (batch.embeddings * over_arch.weight[0]).cpu().numpy()
        popularity = np.full((len(block), 1), weights[PRODUCTS], np.float32)
        blocks.append(np.concatenate([tower, batch.spectral.weighted_sum(weights[:PRODUCTS]), popularity], axis=1))
    return np.concatenate(blocks)


def _item_vectors(reader: BatchReader, index: KeyIndex) -> NDArray[np.float32]:
    """Vectors (I, D) of all items: the outputs of the item tower, the spectral vectors, and the popularity."""
    spectral = spectral_towers_of(index).items
    popularity = spectral.popularity[spectral.places(np.arange(len(spectral)))]
    return np.concatenate([reader.all_items(), spectral.dense(), popularity[:, None]], axis=1)


def _inverted_file(vectors: NDArray[np.float32]) -> Any:
    """A FAISS index over the items (I, D) with about 4 sqrt(I) cells, which answers by inner product."""
    cells = min(round(4 * math.sqrt(len(vectors))), -(-len(vectors) // FEWEST_VECTORS))
    inverted = faiss.index_factory(vectors.shape[1], f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
    inverted.cp.seed, inverted.cp.min_points_per_centroid = 1, 1
    inverted.train(vectors)
    inverted.add(vectors)
    return inverted
