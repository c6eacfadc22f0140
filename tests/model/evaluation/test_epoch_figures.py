"""Figures of an epoch: as large a sample as all give the figures of all, and samples are of users."""

from dataclasses import replace

import numpy as np
import pytest

from model.data.hold_out import hold_out
from model.data.load import joined
from model.evaluation import epoch_figures
from model.evaluation.epoch_figures import EpochFigures
from model.evaluation.quality import quality
from model.examples.clicks import Clicks
from model.training.normalized_entropy import impression_ne
from tests.model.tiny_runs import TINY, trainer_of
from tests.model.worlds import impressions, positives


def trained(folder, data):
    """A run that holds out a tenth, and the figures of its epochs."""
    trainer = trainer_of(folder, replace(TINY, holdout=0.1), data)
    trainer.held_out = figures = EpochFigures(trainer.run.dataset, 0)
    lines = []
    trainer.say = lines.append
    trainer.fit()
    return trainer.run, figures, lines


def test_recall_of_positives_is_that_of_the_evaluation(tmp_path):
    run, figures, lines = trained(tmp_path, positives())
    found, measured = figures(run), quality(run, 0)
    assert found == {f"held_out_recall@{k}": pytest.approx(measured[f"recall@{k}"]) for k in (20, 100)}
    assert len(lines) == 2
    assert all("held_out_recall@20" in line for line in lines)


def test_impressions_are_those_of_some_users(tmp_path, monkeypatch):
    monkeypatch.setattr(epoch_figures, "IMPRESSIONS", 40)
    run, figures, _ = trained(tmp_path, impressions())
    log = run.dataset
    asked = figures._impressions
    assert len(asked) == 40
    whole = [np.count_nonzero(log.test.users == user) == np.count_nonzero(asked.users == user)
             for user in np.unique(asked.users)]
    assert whole.count(False) <= 1
    clicks = Clicks.of(joined(log.train, log.test), len(log.user_ids))
    ne = impression_ne(run.reader, clicks, run.key_index, asked)
    assert figures(run) == {f"held_out_ne_{task}": ne[task] for task in ne}


def test_a_large_catalogue_asks_fewer_users(monkeypatch):
    log = hold_out(positives(), 0.2, 0)
    monkeypatch.setattr(epoch_figures, "PAIRS", 25 * len(log.items))
    assert len(EpochFigures(log, 0)._queries.users) == 25
    monkeypatch.setattr(epoch_figures, "PAIRS", 1)
    assert len(EpochFigures(log, 0)._queries.users) == epoch_figures.FEWEST_USERS
