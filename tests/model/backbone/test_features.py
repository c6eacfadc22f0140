"""Features of pairs: the same alone and in a block, none of a user's own items."""

import numpy as np
import pytest

from model.backbone import model
from model.backbone.features import SCORES, TOWER_SCORES, PairFeatures


def test_a_pair_has_the_same_inputs_alone_and_in_a_block(split, fitted, tolerance=1e-3):
    backbone, neighbours = fitted
    features = PairFeatures(split.train, neighbours, backbone.towers)
    users = np.arange(40, 60)
    block = features.block(users)
    rows, items = model.candidates(block, 5)
    assert features.inputs(block, users, rows, items) == pytest.approx(block.inputs(rows, items), rel=tolerance,
                                                                       abs=tolerance)


def test_own_items_have_no_scores_and_are_no_candidates(split, fitted):
    backbone, neighbours = fitted
    block = PairFeatures(split.train, neighbours, backbone.towers).block(np.arange(10))
    own = block.own.toarray() > 0
    assert block.scores.shape[0] == SCORES > TOWER_SCORES
    assert (block.scores[:, own] == 0).all()
    rows, items = model.candidates(block, 200)
    assert not own[rows, items].any()
