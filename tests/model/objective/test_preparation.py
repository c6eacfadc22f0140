"""Batches come in the order of their plan, as one worker would prepare them."""

import numpy as np
import torch

from model.objective.preparation import Preparation
from model.runs.workers import ALONE, Workers
from tests.model.tiny_runs import trainer_of


class Giving(Workers):
    """One of two workers, which gets nothing from the other but sees what it would hand on itself."""

    def handed(self, value, giver=0):
        return value if giver == self.rank else Handed


class Handed:
    """What comes from the other worker."""

    @staticmethod
    def with_index(index):
        return index


def test_batches_are_those_of_the_plan_with_random_numbers_of_their_own(tmp_path):
    trainer = trainer_of(tmp_path)
    plan = list(trainer.objective.groups.batches(16, np.random.default_rng(0)))
    found = list(Preparation(trainer.objective, trainer.folds, ALONE).batches(2, 0, plan))
    assert len(found) == len(plan)
    for number, (batch, (fold, groups)) in enumerate(zip(found, plan, strict=True)):
        rng = np.random.default_rng([trainer.config.seed, 14, 2, number])
        expected = trainer.objective.prepare(groups, trainer.folds[fold], rng)
        assert np.array_equal(batch.rows, expected.rows)
        assert np.array_equal(batch.features, expected.features)
    later = next(iter(Preparation(trainer.objective, trainer.folds, ALONE).batches(2, 3, plan[3:])))
    assert np.array_equal(found[3].rows, later.rows)


def test_of_two_workers_each_prepares_every_second_batch(tmp_path):
    trainer = trainer_of(tmp_path)
    plan = list(trainer.objective.groups.batches(16, np.random.default_rng(0)))
    alone = list(Preparation(trainer.objective, trainer.folds, ALONE).batches(0, 0, plan))
    for rank in range(2):
        ours = list(Preparation(trainer.objective, trainer.folds, Giving(rank, 2)).batches(0, 0, plan))
        for place, (fold, _) in enumerate(plan):
            if place % 2 == rank:
                assert np.array_equal(ours[place].rows, alone[place].rows)
                assert ours[place].users.index is trainer.folds[fold].index
            else:
                assert ours[place] is trainer.folds[fold].index


def test_threads_are_as_before_when_the_batches_end(tmp_path):
    trainer, before = trainer_of(tmp_path), torch.get_num_threads()
    list(trainer.preparation.batches(0, 0, list(trainer.objective.groups.batches(16, np.random.default_rng(0)))))
    assert torch.get_num_threads() == before
