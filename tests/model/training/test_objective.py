"""The loss of a batch: weights of its tasks, and what the index adds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.config import ConfigError, StackedLayer
from tests.model.runs import LARGER, STACK, TINY, loss_of, trainer_of


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


@pytest.mark.parametrize(("near_share", "hard_share"), [(0.0, 0.0), (0.5, 0.0), (0.9, 0.0), (0.0, 0.002), (0.5, 0.002)])
def test_sampled_negatives_estimate_the_loss_among_all_ads(tmp_path, near_share, hard_share, tolerance=0.01):
    config = replace(TINY, negatives=6000, negative_pool=50_000, near_share=near_share, hard_share=hard_share,
                     unknown_share=0.0, forget_share=0.0)
    trainer = trainer_of(tmp_path, config)
    objective, fold, reader = trainer.objective, trainer.folds[0], trainer.run.reader
    trainer.run.model.eval()
    torch.nn.init.normal_(trainer.run.model.layer(0).interaction_tower.direct.weight)  # so that near ads score highly
    chosen = np.flatnonzero(objective.groups.fold == 0)[:20]
    with torch.no_grad():
        found = loss_of(trainer, chosen).item()
        owners = objective.groups.users[chosen]
        users = reader.users(reader.dataset.users.take(owners), fold.clicks.histories(owners), fold.index)
        everything = np.tile(np.arange(80), (20, 1))
        logits = reader.score_items(users, everything, reader.items(everything))[..., 0]
    losses = []
    for place, group in enumerate(chosen):
        others = np.setdiff1d(np.arange(80), trainer.run.clicks.by_user.row(owners[place]))
        for event in objective.groups.events.row(group):
            own = logits[place, objective.events.items[event]]
            losses.append(float(torch.logsumexp(torch.cat([own[None], logits[place, others]]), 0) - own))
    assert found == pytest.approx(np.mean(losses), rel=tolerance)


@pytest.mark.parametrize("negatives", [1, 2])
def test_a_group_always_has_a_negative_of_the_pool(tmp_path, negatives):
    trainer = trainer_of(tmp_path, replace(TINY, negatives=negatives, near_share=1.0, hard_share=0.0))
    assert np.isfinite(loss_of(trainer, np.arange(12)).item())
