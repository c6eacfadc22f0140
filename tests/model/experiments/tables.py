"""Planted results of cells, from which tables are made."""

from model.experiments.cells import Cell

CURVE = [[50, 0.5], [100, 0.9], [200, 1.0]]
"""Pairs and overlap of a beam over 1,000 ads: 0.95 at 150 pairs, 15 % of them."""


def trained(ne, trees=("em",), recall=0.3):
    """The result of a cell that trained a MoNN."""
    return {"items": 1000, "quality": {"ne": {"click": ne}, "recall@20": recall, "recall@100": 2 * recall},
            "trees": {tree: {"nodes": [10], "scorer": CURVE, "oracle": CURVE} for tree in trees}}


def done(results):
    """Finished cells of slug -> results, seed by seed."""
    return [(Cell("monn", slug, {}, seed), result) for slug, of_seeds in results.items()
            for seed, result in enumerate(of_seeds)]
