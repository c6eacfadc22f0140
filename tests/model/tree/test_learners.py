"""Learners of trees in whole runs: planted groups, export, interruption, and what stops them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from index_store.bundle.bundle import Bundle
from model.config.errors import ConfigError
from model.config.hill import HillConfig
from model.export.seal import export
from model.tree.learners import moves
from tests.model.tiny_runs import (
    JOINT,
    TINY,
    interrupted_and_resumed,
    recall_of,
    trained_run,
    trainer_of,
    weights_of,
)
from tests.model.worlds import positives


@pytest.mark.parametrize("hill", [HillConfig(), HillConfig(codebooks="shared"), HillConfig(gradient="joint")],
                         ids=["parent", "shared", "joint-gradient"])
def test_a_joint_run_learns_exports_and_serves(tmp_path, hill, at_least=0.9, tolerance=1e-5):
    run = trained_run(tmp_path / "run", replace(JOINT, epochs=3, hill=hill))
    assert recall_of(run, 4) > at_least
    export(run, tmp_path / "bundle", {}, half=False)  # refuses a parity above 1e-4
    content = Bundle.open(tmp_path / "bundle").content
    tree, virtual = run.tree.build(run.reader.all_items())
    assert np.array_equal(tree.rows, content.tree.rows)
    offsets = run.model.level_offsets.detach().numpy()
    for level, nodes in enumerate(virtual):
        stored = content.embeddings[level][:, :nodes.shape[1]]
        assert np.allclose(stored, nodes + offsets[level], atol=tolerance)
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(0 <= e["soft_hard_gap"] < 1 and len(e["tree"]) == 2 for e in entries if "soft_hard_gap" in e)
    assert sum("soft_hard_gap" in e for e in entries) > 4


def test_a_joint_run_that_was_interrupted_between_epochs_ends_where_it_would_have_ended(tmp_path):
    whole = trainer_of(tmp_path / "whole", JOINT)
    whole.fit()
    resumed = interrupted_and_resumed(tmp_path / "broken", (1, 0), JOINT)
    assert np.array_equal(resumed.run.tree.codes, whole.run.tree.codes)
    expected = weights_of(whole.run)
    for name, tensor in weights_of(resumed.run).items():
        assert torch.equal(tensor, expected[name]), name


def test_a_posthoc_tree_comes_after_training_and_changes_nothing_of_it(tmp_path):
    posthoc, alone = (trainer_of(tmp_path / name, replace(TINY, tree="posthoc", seed=3)) for name in ("a", "b"))
    posthoc.fit()
    while alone.progress.epoch < alone.schedule.epochs:
        alone._epoch(alone.progress.epoch)
    alone.run.model.start_nodes()
    assert posthoc.run.tree.codes.shape == (80, 2)
    assert alone.run.tree.codes is None
    expected = weights_of(alone.run)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights_of(posthoc.run).items())


def test_training_stops_when_the_index_collapses(tmp_path):
    trainer = trainer_of(tmp_path, replace(TINY, tree="joint", branching=(16,)))
    collapse = trainer.run.tree.codebooks.snapshot
    trainer.run.tree.codebooks.snapshot = lambda read: (np.zeros_like(collapse(read)[0]), 0.0)
    with pytest.raises(ConfigError, match="the index has collapsed at level 1"):
        trainer.fit()


def test_branching_that_exceeds_the_items_is_refused_for_the_joint_tree_too(tmp_path):
    with pytest.raises(ConfigError, match="makes 100 leaves for 80 items"):
        trainer_of(tmp_path, replace(JOINT, branching=(10, 10)), positives())


def test_items_that_changed_their_leaf_are_counted():
    before = np.array([[0, 1], [2, 0], [-1, -1]], np.int32)
    assert moves(before, np.array([[0, 1], [2, 1], [1, 1]], np.int32)) == {"moved": 1, "of": 2}
