"""The beam over the backbone's tree."""

import numpy as np

from model.backbone import beam, model
from model.backbone.features import PairFeatures
from model.backbone.interactions import lengths


def ranked(backbone, neighbours, users):
    block = PairFeatures(neighbours.train, neighbours, backbone.towers).block(users)
    return block, model.rank(backbone.head, block, *model.candidates(block, backbone.config.candidates), cut=10)


def test_a_wide_beam_finds_what_ranking_all_items_finds(split, fitted):
    backbone, neighbours = fitted
    tree = beam.learn_tree(backbone.towers, 0, (4, 3))
    block, _ = ranked(backbone, neighbours, np.arange(20))
    everything = model.rank(backbone.head, block, *(block.own.toarray() == 0).nonzero(), cut=10)
    found, pairs = beam.search(backbone.head, block, tree, (99, 99), cut=10)
    assert (found == everything).all()
    assert (pairs == 120 - lengths(block.own)).all()
    _, fewer = beam.search(backbone.head, block, tree, (2, 2), cut=10)
    assert (fewer < pairs).all()
