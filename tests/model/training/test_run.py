"""Opening runs, and what a hold-out moves."""


import numpy as np
import pytest

from model.config import ConfigError
from model.training.run import Run, hold_out
from tests.model.runs import run_of, trainer_of
from tests.model.worlds import positives
from tests.paths import ROOT

RUNS = ROOT / "tests" / "runs"
"""A run by the code before spectral towers."""


def test_a_run_of_an_earlier_network_is_refused_and_says_what_still_works():
    with pytest.raises(ConfigError, match=r"network version 1, .*train again.*can still be served"):
        Run.open(RUNS / "em")


def test_opening_a_run_counts_no_co_clicks(tmp_path, monkeypatch):
    trainer_of(tmp_path)._save()

    def counted(*_):
        pytest.fail("co-clicks were counted")

    monkeypatch.setattr("model.training.run.key_index", counted)
    run = run_of(tmp_path)
    run.load()
    assert len(run.reader.all_items()) == 80


def test_a_run_without_a_tree_has_no_nodes(tmp_path):
    with pytest.raises(ConfigError, match="has no tree yet; resume the training"):
        run_of(tmp_path).nodes()


def test_an_empty_branching_is_replaced_by_the_default(tmp_path):
    run = run_of(tmp_path)
    assert Run(run.folder, positives(), type(run.config)()).config.branching == (6,)


def test_held_out_events_leave_the_train_set():
    data = positives()
    cut = hold_out(data, 0.25, seed=1)
    pairs = [set(zip(e.users.tolist(), e.items.tolist(), strict=True)) for e in (cut.train, cut.test, data.train)]
    assert pairs[0] | pairs[1] == pairs[2]
    assert not pairs[0] & pairs[1]
    assert len(pairs[1]) == pytest.approx(0.25 * len(pairs[2]), rel=0.3)
    assert np.array_equal(hold_out(data, 0.0, seed=1).train.items, data.train.items)
