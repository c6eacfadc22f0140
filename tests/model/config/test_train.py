"""Settings that cannot work are refused with their value, and settings survive JSON."""

import json
from dataclasses import replace

import pytest

from model.config.errors import ConfigError
from model.config.hill import HillConfig
from model.config.monn import StackedLayer
from model.config.pairs import PairsConfig
from model.config.train import TrainConfig
from tests.model.tiny_runs import LARGER, STACK, TINY


@pytest.mark.parametrize(("change", "said"), [
    ({"rounds": -1}, "rounds is -1; give 0 or more"),
    ({"epochs": 0, "rounds": 0}, "epochs and rounds are both 0, so there is nothing to train"),
    ({"round_epochs": 0}, "round_epochs is 0; at least 1 is needed"),
    ({"batch_users": 0}, "batch_users is 0"),
    ({"epochs": -1}, "epochs is -1; give 0 or more"),
    ({"index_warm_up": float("inf")}, "index_warm_up is inf"),
    ({"forget_share": 1.5}, r"forget_share is 1.5; give a share in \[0, 1\]"),
    ({"holdout": 1.0}, r"holdout is 1.0; give a share in \[0, 1\)"),
    ({"branching": (4, 1)}, r"branching \(4, 1\) has a level of 1"),
    ({"start_from": "run"}, "epochs is 1, but a run that starts from another has a tree from the first epoch on"),
    ({"task_weights": {"click": -1.0}}, "task_weights gives click the weight -1.0"),
    ({"teacher_weight": 0.0}, "teacher_weight is 0.0; give a number above 0"),
    ({"teacher_weight": float("inf")}, "teacher_weight is inf"),
    ({"teacher": "a", "teacher_head": "main"}, "teacher_head is main, .* but the run a labels others"),
    ({"teacher": "a", "teacher_file": "b"}, "both the run a and the file b are named as the teacher"),
])
def test_a_setting_that_cannot_work_is_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        TrainConfig(**change)


@pytest.mark.parametrize("config", [
    TINY, STACK, replace(TINY, hill=HillConfig(codebooks="shared")), TrainConfig(task_weights={"click": 2.0}),
    TrainConfig(epochs=0, start_from="/run", pairs=PairsConfig((0.8,), "beam", ("/beams",)))])
def test_settings_survive_json(config):
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_settings_of_an_older_run_with_fewer_fields_are_read():
    content = {name: value for name, value in TINY.to_json().items() if name not in ("stack", "pairs", "hill")}
    assert TrainConfig.from_json(json.loads(json.dumps(content))) == TINY


@pytest.mark.parametrize("levels", [(2, 1), (1, 1), (0,)])
def test_layers_out_of_order_are_refused(levels):
    with pytest.raises(ConfigError, match="name levels from 1, each finer than the one before"):
        replace(TINY, stack=tuple(StackedLayer(level, LARGER) for level in levels))


@pytest.mark.parametrize("change", [{"tree": "posthoc"}, {"rounds": 0}])
def test_a_stack_without_a_tree_in_training_is_refused(change):
    with pytest.raises(ConfigError, match="choose em or joint"):
        replace(STACK, **change)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(ConfigError, match="lower_share is"):
        replace(STACK, lower_share=share)
