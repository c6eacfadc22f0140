"""`choose` on tiny logs, and `train` with and without it, in the files that it leaves."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from model.baselines import table as tables
from model.baselines.budget import Budget
from model.choice.choose import choose, default_minutes
from tests.model.commands import model
from tests.model.tiny_runs import TINY
from tests.model.worlds import events, impressions, positives

OTHERS = frozenset({"forget_share", "dropout", "learning_rate", "negatives", "size"})
FAST = ("--branching", "4x5", "--batch-users", 256, "--size", "small")


@pytest.fixture(autouse=True)
def _few_settings(monkeypatch):
    monkeypatch.setattr(tables, "MOST_SETTINGS", 1)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """The folder of a small log of impressions."""
    folder = tmp_path_factory.mktemp("log") / "data"
    model("data", "synthetic", "--ads", 100, "--users", 150, "--events", 3000, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def chosen(log, tmp_path_factory):
    """A run that chose its number of epochs, and what it said."""
    out = tmp_path_factory.mktemp("chosen") / "run"
    said = model("train", "--data", log, "--out", out, "--minutes", 0.15, "--forget-share", 0.5, *FAST)
    return out, said


def choice_of(data, tmp_path, config=TINY, fixed=OTHERS, seconds=1000.0):
    return choose(tmp_path, data, config, fixed, Budget(seconds))


def timeless(record):
    """A record without its seconds."""
    if isinstance(record, dict):
        return {name: timeless(value) for name, value in record.items() if name != "seconds"}
    return [timeless(entry) for entry in record] if isinstance(record, list) else record


def test_more_epochs_are_chosen_where_they_help(tmp_path, capsys):
    found = choice_of(positives(items=400), tmp_path, replace(TINY, epochs=0))  # among 80 ads one epoch is enough
    assert found.config.all_epochs > 1
    assert replace(found.config, epochs=TINY.epochs, rounds=TINY.rounds) == TINY
    said = capsys.readouterr()
    assert said.out == ""
    assert f"chosen: epochs {found.config.all_epochs}, 2 instead of 1 gains +0." in said.err
    best = max(entry["measure"] for entry in found.record["trials"])
    [own] = [entry for entry in found.record["trials"] if entry["settings"]["epochs"] == found.config.all_epochs]
    assert own["measure"] == best
    found.tell_of_baselines()
    assert f"the trial of {found.config.all_epochs} epochs beside the baselines" in capsys.readouterr().err


def test_test_events_are_not_read(tmp_path):
    data, rng = positives(), np.random.default_rng(5)
    other = replace(data, test=events([(int(rng.integers(60)), int(rng.integers(80))) for _ in range(500)]))
    fixed = OTHERS | {"epochs"}
    both = [choice_of(log, tmp_path, fixed=fixed).record for log in (data, other, replace(data, test=None))]
    assert timeless(both[0]) == timeless(both[1]) == timeless(both[2])
    assert both[0]["baselines"]["EASE"]["recall@20"] > 0


def test_a_budget_below_one_epoch_trains_one_and_says_so(tmp_path, capsys):
    found = choice_of(positives(), tmp_path, seconds=1e-6)
    assert found.config.all_epochs == 1
    assert "does not reach one epoch; one is trained all the same" in capsys.readouterr().err
    assert found.record["chosen"]["epochs"]["value"] == 1
    found.tell_of_baselines()
    assert "the time allowed no trial to compare with them" in capsys.readouterr().err
    assert "no trial of this model fits the time" in found.record["baselines"]["two towers"]["skipped"]


def test_impressions_without_a_signal_are_told(tmp_path, capsys):
    data = impressions()
    labels = np.random.default_rng(3).permutation(data.train.labels)
    found = choice_of(replace(data, train=replace(data.train, labels=labels)), tmp_path, fixed=OTHERS | {"epochs"})
    assert found.record["learned"] is False
    assert "nothing was learned: no trial beats a constant by more than its standard error" in capsys.readouterr().err


def test_a_hold_out_that_measures_nothing_chooses_nothing(tmp_path, capsys):
    data = positives(clicks=1)
    found = choice_of(replace(data, spec=replace(data.spec, history_ordered=True)), tmp_path)
    assert (found.config, found.trial) == (TINY, None)
    assert "nothing is chosen" in capsys.readouterr().err
    found.tell_of_baselines()


def test_two_towers_are_not_compared_with_themselves(tmp_path):
    config = replace(TINY, model=replace(TINY.model, over_arch="dot"))
    found = choice_of(positives(), tmp_path, config, OTHERS | {"epochs"})
    assert found.record["baselines"]["two towers"] == {"skipped": "they are the run that is trained"}


def test_a_run_says_what_was_chosen_and_what_it_was_compared_with(chosen):
    out, said = chosen
    assert "next: python -m model export" in said
    content = json.loads((out / "choice.json").read_text(), parse_constant=pytest.fail)
    assert content["minutes"] == pytest.approx(0.15)
    assert set(content["fixed"]) == {"forget_share", "branching", "batch_users", "size"}
    assert content["hold_out"]["share"] == 0.2
    assert content["hold_out"]["events"] == "the latest"
    assert content["measure"]["better"] == "lower"
    for entry in content["trials"]:
        assert entry["settings"]["forget_share"] == 0.5
        assert "skipped" in entry or {"measure", "standard_error", "seconds"} <= entry.keys()
    trained = json.loads((out / "config.json").read_text())["train"]
    assert content["chosen"]["epochs"]["value"] == (trained["epochs"] + trained["rounds"] * trained["round_epochs"])
    assert content["chosen"]["epochs"]["why"]
    assert trained["forget_share"] == 0.5
    assert {"popularity", "constant", "logistic regression", "two towers"} <= content["baselines"].keys()
    assert 0 < content["seconds"]["choice"] < content["seconds"]["all"]


def test_settings_of_a_run_are_repeated_to_the_bit(chosen, log, tmp_path):
    before = chosen[0]
    model("train", "--data", log, "--out", tmp_path / "again", "--settings", before / "config.json")
    assert not (tmp_path / "again" / "choice.json").exists()
    one, other = (load_file(run / "weights.safetensors") for run in (before, tmp_path / "again"))
    assert one.keys() == other.keys()
    assert all(np.array_equal(tensor, other[name]) for name, tensor in one.items())


def test_epochs_that_are_given_are_trained(log, tmp_path):
    model("train", "--data", log, "--out", tmp_path / "run", "--minutes", 0.05, "--epochs", 1, "--rounds", 1, *FAST)
    content = json.loads((tmp_path / "run" / "choice.json").read_text())
    assert content["chosen"]["epochs"] == {"value": 2, "why": "given"}


@pytest.mark.parametrize(("words", "said"), [
    (["--branching", "50x50"], "branching"), (["--teacher", "nowhere"], "holds no run"),
    (["--task-weights", "sale=1"], "the task weights name 'sale'")])
def test_settings_that_do_not_fit_the_log_are_refused_before_the_choice(log, tmp_path, words, said):
    error = model("train", "--data", log, "--out", tmp_path / "run", *words, code=1)
    assert said in error
    assert "choosing" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("events", "minutes"), [(10, 3), (125_000, 10), (1_000_000, 20), (8_000_000, 40)])
def test_the_default_budget_grows_with_the_log(events, minutes):
    assert default_minutes(events) == pytest.approx(minutes)
