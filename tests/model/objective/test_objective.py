"""The loss of a batch: weights of its tasks, and what the index adds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.config.monn import StackedLayer
from tests.model.tiny_runs import JOINT, LARGER, STACK, TINY, loss_of, trainer_of
from tests.model.worlds import impressions


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


def test_features_are_standardised_by_those_of_events_alone(tmp_path):
    trainer = trainer_of(tmp_path, replace(TINY, batch_users=40), impressions())
    groups, rng = trainer.objective.groups, np.random.default_rng([TINY.seed, 13])
    fold, chosen = next(groups.batches(40, rng))
    batch = trainer.objective.prepare(chosen, trainer.folds[fold], rng)
    assert len(batch.features) == len(batch.events) < batch.filled.size, "not all groups are as large"
    tower = trainer.run.model.layer(-1).interaction_tower
    torch.testing.assert_close(tower.mean, torch.from_numpy(batch.features).mean(dim=0))


def test_each_impression_counts_as_much_as_any_other(tmp_path, tolerance=1e-6):
    trainer = trainer_of(tmp_path, replace(TINY, forget_share=0.0, unknown_share=0.0), impressions())
    trainer.run.model.eval()
    groups = np.arange(12)
    events = trainer.objective.groups.events.take(groups).lengths
    assert len(set(events.tolist())) > 1
    alone = [loss_of(trainer, groups[[at]]).item() for at in groups]
    assert loss_of(trainer, groups).item() == pytest.approx(np.average(alone, weights=events), rel=tolerance)
