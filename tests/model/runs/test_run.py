"""Opening runs."""

import pytest

from model.config.errors import ConfigError
from model.runs.run import Run
from tests.model.tiny_runs import run_of, trainer_of
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

    monkeypatch.setattr("model.runs.run.key_index", counted)
    run = run_of(tmp_path)
    run.load()
    assert len(run.reader.all_items()) == 80


def test_a_run_without_a_tree_has_no_nodes(tmp_path):
    with pytest.raises(ConfigError, match="has no tree yet; resume the training"):
        run_of(tmp_path).nodes()


def test_an_empty_branching_is_replaced_by_the_default(tmp_path):
    run = run_of(tmp_path)
    assert Run(run.folder, positives(), type(run.config)()).config.branching == (6,)
