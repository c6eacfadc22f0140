"""What a run learns from: all train events, or of a stack those that its layers do not leave to their weights."""

from dataclasses import replace

import numpy as np

from model.examples.folds import FOLDS, Fold
from model.training.ensemble import withhold
from model.training.learned_log import LearnedLog
from tests.model.tiny_runs import STACK, TINY
from tests.model.worlds import positives


def test_a_run_without_a_stack_learns_from_all_train_events():
    data = positives()
    log = LearnedLog.of(data, TINY)
    assert log.events is data.train
    assert log.withheld is None
    assert set(log.fold.tolist()) == set(range(FOLDS))


def test_a_stack_withholds_what_its_weights_are_fitted_on():
    data, config = positives(), replace(STACK, lower_share=0.9)
    log, (learned, withheld) = LearnedLog.of(data, config), withhold(data, 0.9)
    assert log.withheld is not None
    assert np.array_equal(log.events.items, learned.items)
    assert np.array_equal(log.withheld.items, withheld.items)


def test_a_fold_that_is_counted_alone_is_that_of_all_folds():
    data = positives()
    log = LearnedLog.of(data, TINY)
    for number, fold in enumerate(Fold.all_of(data, log.events, log.fold)):
        alone = log.count(data, number)
        assert np.array_equal(alone.clicks.rows, fold.clicks.rows)
        assert np.array_equal(alone.index.reach.values, fold.index.reach.values)
        assert np.array_equal(alone.index.weights, fold.index.weights)
