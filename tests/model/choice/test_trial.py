"""Trials: trained without a tree on the rest, measured on the hold-out, with folds that are counted once."""

from dataclasses import replace

import numpy as np
import pytest

from model.choice import trial as module
from model.choice.held_out import HeldOut
from model.choice.measure import measure_of
from model.choice.trial import OutOfTimeError, Trials, without_tree
from model.training import trainer
from tests.model.tiny_runs import JOINT, TINY, trained_run
from tests.model.worlds import positives


@pytest.fixture
def trials(tmp_path):
    held = HeldOut.of(positives(), 0)
    return Trials(tmp_path, held, measure_of(held, TINY))


def unchecked(pace, left):
    pass


def test_the_settings_have_as_many_epochs_and_neither_tree_nor_teacher():
    config = replace(JOINT, epochs=2, round_epochs=3, teacher="/run", holdout=0.1)
    assert without_tree(config) == replace(TINY, epochs=8, rounds=0)


def test_a_trial_is_what_a_run_without_a_tree_reaches(trials, tmp_path, capsys):
    tried = trials.run(TINY, unchecked)
    assert "loss_items" not in "".join(capsys.readouterr())
    held = HeldOut.of(positives(), 0)
    run = trained_run(tmp_path / "run", replace(TINY, epochs=2, rounds=0), held.dataset)
    assert run.tree.codes is None
    assert np.array_equal(tried.reached.values, measure_of(held, TINY).of(run).values)
    assert tried.config == TINY
    assert [epoch.keys() for epoch in tried.epochs] == 2 * [{"held_out_recall@20", "held_out_recall@100"}]
    assert tried.epochs[-1]["held_out_recall@20"] == pytest.approx(tried.reached.row["recall@20"], abs=0.1)
    assert tried.seconds > tried.pace.batch_seconds > 0
    assert tried.pace.batches == pytest.approx(360 * 0.8 / 16, rel=0.5)


def test_a_second_trial_counts_no_folds_and_repeats_the_first(trials, monkeypatch):
    first = trials.run(TINY, unchecked)

    def counted(*_):
        pytest.fail("folds were counted again")

    monkeypatch.setattr(trainer.Fold, "all_of", counted)
    monkeypatch.setattr("model.runs.run.key_index", counted)
    assert np.array_equal(trials.run(TINY, unchecked).reached.values, first.reached.values)


def test_a_trial_is_checked_now_and_then_and_may_be_given_up(trials, monkeypatch, tolerance=0.05):
    monkeypatch.setattr(module, "CHECK_EVERY", 1)
    left = []

    def check(pace, seconds):
        left.append(seconds / pace.batch_seconds)
        if len(left) == 4:
            raise OutOfTimeError("enough")

    with pytest.raises(OutOfTimeError, match="enough"):
        trials.run(TINY, check)
    assert np.diff(left) == pytest.approx([-1, -1, -1], abs=tolerance)
