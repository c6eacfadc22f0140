"""The loss of a batch: weights of its tasks, and what the index adds."""

from dataclasses import replace

import numpy as np
import pytest

from model.config import ConfigError, StackedLayer
from tests.model.runs import JOINT, LARGER, STACK, TINY, loss_of, trainer_of


def test_a_weight_for_a_task_that_the_log_lacks_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="name 'buy', but the tasks of this log are click"):
        trainer_of(tmp_path, replace(TINY, task_weights={"click": 1.0, "buy": 0.5}))
    with pytest.raises(ConfigError, match="all have weight 0"):
        trainer_of(tmp_path, replace(TINY, task_weights={"click": 0.0}))
    with pytest.raises(ConfigError, match=r"gives click the weight -1.0"):
        replace(TINY, task_weights={"click": -1.0})


def test_task_weights_scale_the_loss(tmp_path, tolerance=1e-6):
    losses = []
    for weight in (1.0, 3.0):
        trainer = trainer_of(tmp_path / str(weight), replace(TINY, task_weights={"click": weight}))
        trainer.run.model.eval()
        losses.append(loss_of(trainer, np.arange(12)).item())
    assert losses[1] == pytest.approx(3 * losses[0], rel=tolerance)


def test_the_index_penalty_is_added_once_per_batch(tmp_path):
    """The layers of a stack both read the joint index, yet its pool takes one usage a batch."""
    deeper = replace(STACK, tree="joint", branching=(3, 2, 2), stack=(StackedLayer(2, LARGER),))
    trainer = trainer_of(tmp_path, deeper)
    trainer.learner.learn()
    tree = trainer.learner.tree_reader()
    for batch in (1, 2):
        loss_of(trainer, np.arange(16), tree)
        assert len(trainer.run.tree.codebooks._pooled[0]) == batch


def test_the_parts_of_a_loss_add_up_with_the_weight_of_the_nodes(tmp_path, tolerance=1e-6):
    trainer = trainer_of(tmp_path, replace(JOINT, branching=(3, 2, 2)))
    trainer.learner.learn()
    tree, weight = trainer.learner.tree_reader(), 0.3
    batch = trainer.objective.prepare(np.arange(12), trainer.folds[0], np.random.default_rng(0))
    found = trainer.objective.loss(batch, tree, weight, np.random.default_rng(0))
    parts = {name: part.item() for name, part in found.parts.items()}
    assert parts.keys() == {"items", "tree", "nodes"}
    assert found.total.item() == pytest.approx(
        parts["items"] + parts["tree"] + weight * 3 * parts["nodes"], rel=tolerance)


def test_codes_of_k_means_have_no_loss_of_their_own(tmp_path):
    trainer = trainer_of(tmp_path)
    trainer.learner.learn()
    batch = trainer.objective.prepare(np.arange(12), trainer.folds[0], np.random.default_rng(0))
    found = trainer.objective.loss(batch, trainer.learner.tree_reader(), 1.0, np.random.default_rng(0))
    assert found.parts.keys() == {"items", "nodes"}
