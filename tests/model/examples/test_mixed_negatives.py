"""Negatives of all sources together: their correction against the softmax over all ads."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.model.tiny_runs import TINY, loss_of, trainer_of


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
