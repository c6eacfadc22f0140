"""The fitted backbone: it finds the planted group, reproducibly, and survives its folder."""

import numpy as np
import pytest

from model.backbone import model, ranking
from model.backbone.features import PairFeatures
from model.backbone.model import Backbone
from model.config import ConfigError
from tests.model.backbone.splits import SMALL


def ranked(backbone, neighbours, users):
    block = PairFeatures(neighbours.train, neighbours, backbone.towers).block(users)
    return block, model.rank(backbone.head, block, *model.candidates(block, backbone.config.candidates), cut=10)


def test_the_planted_group_is_found(split, fitted):
    users = np.arange(300)
    _, top = ranked(*fitted, users)
    assert (top % 6 == (users % 6)[:, None]).mean() > 0.9
    assert ranking.quality(top, split.test[users]).recall > 0.4  # the popular items of all groups give 0.08


def test_the_same_seed_gives_the_same_ranking(split, fitted):
    users = np.arange(30)
    again = model.fit(split.train, SMALL, seed=0)
    assert (ranked(*again, users)[1] == ranked(*fitted, users)[1]).all()


def test_a_saved_backbone_ranks_the_same(fitted, tmp_path):
    backbone, neighbours = fitted
    backbone.save(tmp_path / "b")
    loaded = Backbone.load(tmp_path / "b")
    assert loaded.config == backbone.config
    users = np.arange(30)
    assert (ranked(loaded, neighbours, users)[1] == ranked(backbone, neighbours, users)[1]).all()


def test_a_folder_without_a_backbone_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no backbone"):
        Backbone.load(tmp_path)
