"""Hold-outs: the same share of everybody's pairs, and the kind of pairs that their name says."""

import numpy as np
import pytest

from model.backbone.hold_outs import SHAPES, shaped
from model.backbone.interactions import degrees, lengths


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_holds_out_its_share_and_loses_no_pair(split, shape):
    held = shaped(split.train, shape, 0.25, seed=0)
    assert np.array_equal(lengths(held.test), np.maximum(1, np.round(lengths(split.train) * 0.25)))
    assert (held.train + held.test != split.train).nnz == 0


def test_popular_and_rare_items_are_held_out_as_named(split):
    popularity = degrees(split.train)
    mean = {shape: popularity[shaped(split.train, shape, 0.25, seed=0).test.indices].mean()
            for shape in ("popular", "random", "rare")}
    assert mean["popular"] > mean["random"] > mean["rare"]


def test_near_items_are_of_the_users_group_more_often_than_far_ones(split):
    def of_group(shape):
        users, items = shaped(split.train, shape, 0.25, seed=0).test.nonzero()
        return (items % 6 == users % 6).mean()

    assert of_group("near") > of_group("far")
