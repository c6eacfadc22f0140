"""A run beside the baselines: the table in its quality and on standard error."""

from dataclasses import replace

import pytest

from model.baselines import table as tables
from model.evaluation import beside_baselines as module
from model.evaluation.beside_baselines import beside_baselines
from model.evaluation.quality import quality
from tests.model.tiny_runs import TINY, run_of
from tests.model.worlds import positives


@pytest.fixture(autouse=True)
def _few_settings(monkeypatch):
    monkeypatch.setattr(tables, "MOST_SETTINGS", 1)


def test_the_table_is_added_and_told_and_what_wins_is_named(tmp_path, capsys):
    data = positives(users=200)
    run = run_of(tmp_path, data=data)
    found = quality(run, 50) | {"recall@20": 0.1}
    both = beside_baselines(run, found, 50)
    assert {name: both[name] for name in found} == found
    assert set(both["baselines"]) == {"popularity", "item cosine", "iALS", "EASE", "two towers"}
    told = capsys.readouterr().err
    assert f"{found['recall@20']:.4f} ± {found['se_recall@20']:.4f}" in told
    assert f"EASE beats this run: Recall@20 {both['baselines']['EASE']['recall@20']:.4f}" in told
    assert (tmp_path / "baselines.json").exists()


def test_two_towers_are_not_compared_with_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "two_towers", None)
    run = run_of(tmp_path, replace(TINY, model=replace(TINY.model, over_arch="dot")))
    assert beside_baselines(run, quality(run, 0), 0)["baselines"]["two towers"] == {
        "skipped": "they are the run that is measured"}


def test_there_is_no_table_without_test_events_or_where_none_is_wanted(tmp_path):
    found = {"test_events": 0}
    assert beside_baselines(run_of(tmp_path, data=replace(positives(), test=None)), found, 0) == found
    assert beside_baselines(run_of(tmp_path), found, 0, "none") == found
