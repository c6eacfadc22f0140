"""Test-time training of the towers."""

import numpy as np

from model.backbone import beam, tuning
from model.backbone.spectral import Towers
from model.tree.node_pairs import random_pairs


def test_node_columns_move_the_towers_and_are_dropped_again(split, fitted):
    backbone, _ = fitted
    tree = beam.learn_tree(backbone.towers, 0, (4, 3))
    pairs = tuning.history_pairs(split.train, tree, (0.3, 0.3))
    assert sum(map(len, pairs)) > 0

    def after(lists):
        return tuning.tuned(split.train, backbone.towers, tree, lists, 2, np.random.default_rng(0))

    real, nodes = after([]), after(pairs)
    other = after([random_pairs(tree, level, np.random.default_rng(1)) for level in pairs])
    assert {t.vectors.shape for t in (real, nodes, other)} == {backbone.towers.vectors.shape}

    def projected(towers: Towers):
        basis = np.linalg.qr(towers.vectors)[0]
        return basis @ basis.T

    own = projected(backbone.towers)
    moved = [np.linalg.norm(projected(t) - own) for t in (real, nodes, other)]
    assert moved[0] < 0.2 < moved[1] < moved[2]
