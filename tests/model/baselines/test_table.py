"""The table of baselines: what is in it, that it is kept, and that what does not fit is told."""

import json
from dataclasses import replace

import numpy as np
import pytest

from model.baselines import table as module
from model.baselines.cache import FILE, Cache
from model.baselines.table import baseline_table
from tests.model.worlds import impressions, positives

RANKING = ("popularity", "item cosine", "iALS", "EASE")


@pytest.fixture(autouse=True)
def _few_settings(monkeypatch):
    monkeypatch.setattr(module, "MOST_SETTINGS", 2)


def table_of(data, **options):
    return baseline_table(data.train, data.test, data, **{"users": 0, "seed": 0, **options})


def test_every_baseline_ranks_a_log_of_positives_and_finds_what_is_planted():
    table = table_of(positives(users=200, items=80, clicks=6))
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    assert tuple(table) == RANKING
    for name in RANKING[1:]:  # a user has 4 unseen ads of the own category, and popularity knows none
        assert table[name]["recall@20"] > 0.9 > table["popularity"]["recall@20"] + 0.3, name
    assert 0 < table["popularity"]["se_recall@20"] < 0.05
    assert table["EASE"]["settings"]["penalty"] > 0
    assert table["iALS"]["settings"]["tried"] == 2


def test_impressions_add_the_constant_and_the_regression_by_task():
    data = impressions()
    late = np.arange(len(data.train)) % 12 >= 10
    data = replace(data, train=data.train.where(~late), test=data.train.where(late))
    table = table_of(data)
    assert set(table) == {*RANKING, "constant", "logistic regression"}
    assert table["constant"]["ne"]["click"] == pytest.approx(1.0)
    for name in ("constant", "logistic regression"):
        assert set(table[name]["ne"]) == {"click", "purchase"}
        assert "recall@20" not in table[name]
    assert set(table["logistic regression"]["settings"]["penalty"]) == {"click", "purchase"}


def test_a_regression_that_cannot_be_fitted_is_skipped_with_the_reason(monkeypatch):
    data = impressions()
    data = replace(data, test=data.train)
    one = replace(data, train=data.train.where(np.arange(len(data.train)) == 0))
    assert table_of(one)["logistic regression"] == {
        "skipped": "a train log of 1 impressions leaves none to choose the penalty on"}
    monkeypatch.setattr(module, "REGRESSION_RATE", 1e-3)
    assert "of the time for baselines are left" in table_of(data, seconds=60.0)["logistic regression"]["skipped"]


def test_a_table_is_kept_and_used_for_the_same_question_alone(tmp_path, monkeypatch):
    data, cache = positives(), Cache(tmp_path / FILE)
    first = table_of(data, cache=cache)

    def refuse(*_):
        raise AssertionError("fitted again")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_measured", refuse)
        assert table_of(data, cache=cache) == first
        for other in ({"users": 9}, {"seconds": 100.0}):
            with pytest.raises(AssertionError, match="fitted again"):
                table_of(data, cache=cache, **other)
        with pytest.raises(AssertionError, match="fitted again"):
            table_of(positives(seed=1), cache=cache)
    assert table_of(data, users=9, cache=cache)["popularity"] != first["popularity"]
    assert table_of(data, cache=cache) == first  # both draws are kept


def test_a_catalogue_too_large_for_ease_is_skipped_unless_asked_for(monkeypatch):
    data = positives()
    monkeypatch.setattr(module, "MOST_ITEMS", 79)
    assert table_of(data)["EASE"] == {"skipped": "80 ads are more than 79; evaluate with --baselines all to fit it, "
                                                 "with 0.0 GiB of memory"}
    assert "recall@20" in table_of(data, everything=True)["EASE"]
    monkeypatch.setattr(module, "bytes_needed", lambda items: items * (1 << 40))
    assert "it needs 81920.0 GiB of memory" in table_of(data, everything=True)["EASE"]["skipped"]


def test_what_does_not_fit_into_the_budget_is_skipped_and_told(monkeypatch):
    monkeypatch.setattr(module, "COSINE_RATE", 1e-3)
    table = table_of(positives(), seconds=30.0)
    assert "of the time for baselines are left" in table["item cosine"]["skipped"]
    assert "recall@20" in table["popularity"]
    nothing = table_of(positives(), seconds=0.0)
    assert all("skipped" in nothing[name] for name in RANKING[1:])


def test_settings_of_ials_are_fewer_in_a_small_budget(monkeypatch):
    monkeypatch.setattr(module, "MOST_SETTINGS", 12)
    table = table_of(positives(), seconds=10.0)
    assert 1 <= table["iALS"]["settings"]["tried"] <= 12


def test_a_skipped_baseline_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_ITEMS", 79)
    cache = Cache(tmp_path / FILE)
    table_of(positives(), cache=cache)
    assert "recall@20" in table_of(positives(), cache=cache, everything=True)["EASE"]


def test_test_users_without_history_are_ranked_by_popularity_and_told(capsys):
    data = positives()
    strangers = data.test.users
    data = replace(data, train=data.train.where(~np.isin(data.train.users, strangers[::2])),
                   test=data.test.where(np.isin(strangers, strangers[::2])))
    table = table_of(data)
    for name in RANKING:
        assert table[name]["recall@20"] == table["popularity"]["recall@20"]
    assert "30 of the 30 test users have no train positive of click" in capsys.readouterr().err


def test_without_targets_or_positives_the_rankings_are_skipped_with_the_reason():
    data = positives()
    none = replace(data, test=data.train)
    assert "no user has a test event with label 1 of click" in table_of(none)["iALS"]["skipped"]
    unlabelled = replace(data, train=replace(data.train, labels=np.zeros_like(data.train.labels)))
    assert table_of(unlabelled)["EASE"]["skipped"] == "no train event has label 1 of click"


def test_test_events_are_not_read_for_the_choice_of_settings():
    data = positives(users=100)
    one, other = (table_of(replace(data, test=data.test.where(data.test.users % 2 == parity))) for parity in (0, 1))
    for name in ("iALS", "EASE"):
        assert one[name]["settings"] == other[name]["settings"]
