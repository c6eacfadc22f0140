"""The untrained network: levels that a stack needs, and base rates that it starts from."""

from dataclasses import replace

import pytest
import torch

from model.config.errors import ConfigError
from model.config.monn import StackedLayer
from tests.model.tiny_runs import LARGER, TINY, run_of, trainer_of, weights_of
from tests.model.worlds import impressions


def test_a_layer_for_a_level_that_the_tree_lacks_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"a layer for level 3, but the tree of branching 4x3 has 2 above the items"):
        trainer_of(tmp_path, replace(TINY, stack=(StackedLayer(3, LARGER),)))


def test_biases_start_at_the_base_rates_of_a_log_of_impressions(tmp_path):
    log = impressions()
    bias = run_of(tmp_path, data=log).model.layer(-1).over_arch.bias
    assert torch.sigmoid(bias).tolist() == pytest.approx(log.train.labels.mean(axis=0).tolist())


def test_the_same_seed_gives_the_same_weights(tmp_path):
    first, again, other = (run_of(tmp_path / str(at), replace(TINY, seed=seed)) for at, seed in enumerate((0, 0, 1)))
    expected = weights_of(first)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights_of(again).items())
    assert not all(torch.equal(tensor, expected[name]) for name, tensor in weights_of(other).items())
