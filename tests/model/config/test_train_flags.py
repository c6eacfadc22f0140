"""Flags of `train`: every setting has one or deliberately none, with the names that users know."""

import argparse
from dataclasses import fields, replace

import pytest

from model.config.hill import HillConfig
from model.config.monn import SIZES, StackedLayer
from model.config.pairs import PairsConfig
from model.config.train import TrainConfig
from model.config.train_flags import add_flags, given, train_config

WITHOUT = {"model": "--size and --over-arch", "hill": "--codebooks and --tree-gradient",
           "pairs": "--phi, --interest, --beams and --control", "index_weight": "chosen once",
           "index_warm_up": "chosen once", "negative_pool": "chosen once", "near_share": "chosen once",
           "hard_share": "chosen once", "teacher_head": "for a control",
           "uniform_share": "chosen once", "unknown_share": "chosen once", "learning_rate": "chosen once",
           "table_learning_rate": "chosen once", "weight_decay": "chosen once", "ignored": "of ablations"}
"""Settings without a flag of their own, and why."""

FLAGS = {"--size", "--over-arch", "--stack", "--lower-share", "--branching", "--tree", "--epochs", "--rounds",
         "--round-epochs", "--from", "--node-features", "--task-weights", "--teacher", "--teacher-file",
         "--teacher-weight",
         "--batch-users", "--negatives", "--forget-share", "--holdout", "--seed", "--codebooks", "--tree-gradient",
         "--phi", "--interest", "--beams", "--control"}
"""A name that users have in their scripts stays."""


def parser():
    made = argparse.ArgumentParser()
    add_flags(made)
    return made


def parsed(*words):
    return parser().parse_args(list(map(str, words)))


def test_every_setting_has_a_flag_or_deliberately_none():
    flagged = {field.name for field in fields(TrainConfig) if "flag" in field.metadata}
    assert flagged | set(WITHOUT) == {field.name for field in fields(TrainConfig)}
    assert not flagged & set(WITHOUT)


def test_flags_keep_their_names():
    names = {name for action in parser()._actions for name in action.option_strings if name.startswith("--")}
    assert names - {"--help"} == FLAGS


def test_no_flags_are_the_defaults():
    assert train_config(parsed()) == TrainConfig()
    assert given(parsed(), PairsConfig) == {}


def test_flags_reach_their_settings():
    args = parsed("--size", "medium", "--over-arch", "dhen", "--stack", "large@1,small@2", "--lower-share", 0.9,
                  "--branching", "24x10x8", "--tree", "joint", "--epochs", 3, "--rounds", 4, "--round-epochs", 5,
                  "--node-features", "representative", "--task-weights", "click=1,conversion=0.5", "--teacher", "/run",
                  "--batch-users", 7, "--negatives", 8, "--forget-share", 0.3, "--holdout", 0.2, "--seed", 9,
                  "--codebooks", "shared", "--tree-gradient", "joint")
    assert train_config(args) == TrainConfig(
        model=replace(SIZES["medium"], over_arch="dhen"),
        stack=(StackedLayer(1, SIZES["large"]), StackedLayer(2, SIZES["small"])), lower_share=0.9,
        branching=(24, 10, 8), tree="joint", epochs=3, rounds=4, round_epochs=5, node_features="representative",
        task_weights={"click": 1.0, "conversion": 0.5}, teacher="/run", batch_users=7, negatives=8, forget_share=0.3,
        holdout=0.2, seed=9, hill=HillConfig(codebooks="shared", gradient="joint"))


def test_settings_of_test_time_training_are_the_given_ones():
    values = given(parsed("--phi", "0.8,0.4", "--beams", "/a", "/b", "--interest", "union"), PairsConfig)
    assert values == {"phi": (0.8, 0.4), "beams": ("/a", "/b"), "interest": "union"}
    assert PairsConfig(**values).control == ""


def test_paths_do_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train_config(parsed("--teacher-file", "soft.parquet")).teacher_file == str(tmp_path / "soft.parquet")


@pytest.mark.parametrize(("words", "said"), [
    (("--branching", "24,10"), "'24,10' is not like 24x10x8"),
    (("--stack", "huge@1"), "'huge@1' is not like large@1 or large@1,medium@2; sizes are small, medium, large"),
    (("--task-weights", "click"), "'click' is not like click=1,conversion=0.5"),
    (("--phi", "high"), "'high' is not like 0.8,0.4"),
    (("--epochs", "many"), "invalid int value: 'many'"),
    (("--tree", "oak"), "invalid choice: 'oak'"),
])
def test_a_value_that_cannot_be_read_is_refused_with_an_example(words, said, capsys):
    with pytest.raises(SystemExit):
        parsed(*words)
    assert said in capsys.readouterr().err
