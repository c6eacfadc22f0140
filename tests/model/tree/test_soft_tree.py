"""The joint index in training: where its gradient goes, and that mixtures give nothing away."""

from dataclasses import replace

import numpy as np
import pytest

from index_store.features.interaction import feature_names
from model.config.hill import HillConfig
from tests.model.tiny_runs import JOINT, loss_of, trainer_of
from tests.model.worlds import positives


@pytest.mark.parametrize(("gradient", "reaches"), [("stopped", False), ("joint", True)])
def test_the_index_loss_reaches_the_item_tower_only_if_asked(tmp_path, gradient, reaches):
    trainer = trainer_of(tmp_path, replace(JOINT, hill=HillConfig(gradient=gradient, reconstruction_weight=0.0)))
    trainer.run.model.eval()
    trainer.learner.learn()
    tree, reader = trainer.learner.tree_reader(), trainer.run.reader
    rows = np.arange(12).reshape(4, 3)
    users = reader.users(reader.dataset.users.take(np.arange(4)), trainer.run.clicks.histories(np.arange(4)),
                         trainer.run.key_index)
    logits = tree.score_holding(users, 1, rows, reader.items(rows.ravel()).reshape(4, 3, -1))
    logits.sum().backward()
    assert (trainer.run.model.layer(-1).item_tower.layers[-1].weight.grad is not None) == reaches
    assert trainer.run.tree.codebooks.tables[0].grad.abs().sum() > 0


def test_equal_mixtures_give_a_levels_offset_no_gradient(tmp_path, tolerance=1e-5):
    """Under all but uniform attention and without interaction features every mixture of a level is the same.

    A softmax over equal logits gives nothing to what shifts all of them, the level's offset.
    """
    uniform = HillConfig(sharpness=(1e-7, 1e-7))
    trainer = trainer_of(tmp_path, replace(JOINT, branching=(6,), hill=uniform), positives())
    trainer.run.model.eval()
    trainer.learner.learn()
    tree = trainer.learner.tree_reader()
    width = len(feature_names(trainer.run.dataset.spec))
    tree.features = lambda users, level, nodes: np.zeros((*nodes.shape, width), np.float32)
    loss_of(trainer, np.arange(16), tree).backward()
    assert trainer.run.model.level_offsets.grad.abs().max() < tolerance
