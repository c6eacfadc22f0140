"""The two-tower row: trained from nothing on the run's train events, measured like a run, and kept."""

import json
from dataclasses import replace

import pytest

from model.baselines.cache import Cache
from model.config.pairs import PairsConfig
from model.evaluation import two_towers as module
from model.evaluation.quality import quality
from model.evaluation.two_towers import NAME, as_two_towers, two_towers
from tests.model.tiny_runs import STACK, TINY, trained_run
from tests.model.worlds import impressions, positives


def test_settings_are_the_runs_with_a_dot_product_and_nothing_of_another_run():
    own = as_two_towers(replace(STACK, holdout=0.1, teacher="runs/t", seed=4))
    assert own == replace(STACK, model=replace(STACK.model, over_arch="dot"), stack=(), seed=4)
    tuned = replace(TINY, epochs=0, start_from="runs/a", pairs=PairsConfig(phi=(0.8,)))
    assert as_two_towers(tuned) == replace(TINY, model=replace(TINY.model, over_arch="dot"), epochs=1)


def test_they_are_measured_like_a_run_of_these_settings(tmp_path, capsys):
    data = positives()
    row = two_towers(data, TINY, tmp_path, 0)
    assert capsys.readouterr().out == ""
    run = trained_run(tmp_path / "dot", as_two_towers(TINY), data)
    found = quality(run, 0)
    assert {name: row[name] for name in row if name != "seconds"} == {
        name: found[name] for name in ("recall@20", "se_recall@20", "recall@100", "se_recall@100")}
    assert json.dumps(row, allow_nan=False)


def test_impressions_have_their_ne_and_a_kept_row_is_used_for_these_settings_alone(tmp_path, monkeypatch):
    data, cache = impressions(), Cache(tmp_path / "baselines.json")
    data = replace(data, test=data.train)
    row = two_towers(data, TINY, tmp_path, 0, cache)
    assert set(row["ne"]) == {"click", "purchase"}

    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "train", refuse)
    assert two_towers(data, TINY, tmp_path, 0, cache) == cache_row(cache) == row
    with pytest.raises(AssertionError, match="trained again"):
        two_towers(data, replace(TINY, epochs=2), tmp_path, 0, cache)


def cache_row(cache):
    [entry] = json.loads(cache.path.read_bytes()).values()
    return entry[NAME]
