"""The search over planted trials: what it takes, in which order, and when it stops."""

import numpy as np
import pytest

from model.baselines.budget import Budget, SkippedError
from model.choice.alternatives import chosen_of
from model.choice.forecast import Forecast
from model.choice.measure import Measure, Reached
from model.choice.search import Search
from model.choice.trial import Pace, Trial
from model.config.errors import ConfigError
from model.config.train import TrainConfig
from tests.model.worlds import positives

START = TrainConfig(epochs=1, rounds=2)
"""Three epochs."""

OTHERS = frozenset(chosen_of(TrainConfig())) - {"epochs"}
PACE = Pace(batches=10, batch_seconds=1.0)


class Value(Measure):
    """The mean of what is planted for 100 users, higher is better."""

    name, sign, users, asked = "value", 1, np.arange(100), 0

    def of(self, run):
        raise AssertionError("planted trials measure nothing")


class PlantedTrials:
    """Trials in no time whose values are a function of the settings, with an own error for each user."""

    preparing = 0.0

    def __init__(self, value, noise=0.0, pace=PACE):
        self.value, self.noise, self.pace, self.tried = value, noise, pace, []

    def run(self, config, check):
        settings = chosen_of(config)
        check(self.pace, config.all_epochs * self.pace.batches * self.pace.batch_seconds)
        self.tried.append(settings)
        errors = self.noise * np.random.default_rng(len(self.tried)).standard_normal(100)
        return Trial(config, Reached(self.value(settings) + errors - errors.mean()), 0.0, self.pace, [])


def search(trials, *, seconds=1e9, fixed=frozenset()):
    made = Search(positives(), trials, Value(), Budget(seconds), Forecast(1.0, 0), START, fixed)
    made.run()
    return made


def epochs_of(trials):
    return [settings["epochs"] for settings in trials.tried]


@pytest.mark.parametrize(("best", "tried"), [(3, [3, 6, 1]), (6, [3, 6, 12]), (24, [3, 6, 12, 24, 48]), (1, [3, 6, 1])])
def test_epochs_are_doubled_while_that_helps_and_halved_if_it_never_did(best, tried):
    trials = PlantedTrials(lambda settings: -abs(np.log(settings["epochs"] / best)))
    found = search(trials, fixed=OTHERS)
    assert epochs_of(trials) == tried
    assert found.config.all_epochs == best
    assert found.best.config == found.config
    assert found.reasons["epochs"][0].startswith("6 instead of 3 gains ")


@pytest.mark.parametrize("name", ["epochs", "rounds", "round_epochs"])
def test_a_number_of_epochs_that_is_given_is_kept(name):
    trials = PlantedTrials(lambda settings: settings["epochs"])
    found = search(trials, fixed=OTHERS | {name})
    assert epochs_of(trials) == [3]
    assert found.config == START
    assert found.reasons["epochs"] == ["given"]


def test_an_alternative_is_taken_if_it_gains_more_than_its_error():
    trials = PlantedTrials(lambda settings: 2 * (settings["dropout"] == 0.2) + 0.01 * (settings["negatives"] == 192),
                           noise=1.0)
    found = search(trials, fixed=frozenset({"epochs", "size"}))
    assert found.config.model.dropout == 0.2
    assert found.config.negatives == 96
    assert found.reasons["dropout"][0].startswith("0.2 instead of 0.4 gains +2.0000 ± 0.1")
    assert next(entry["taken"] for entry in found.record if entry["settings"]["dropout"] == 0.2)
    later = [settings for settings in trials.tried if settings["learning_rate"] == 1e-3]
    assert all(settings["dropout"] == 0.2 for settings in later), "later alternatives build on what was taken"


@pytest.mark.parametrize(("best", "tried"), [(5e-3, {2e-3, 5e-3}), (1e-3, {2e-3, 5e-3, 1e-3})])
def test_lower_learning_rates_are_tried_unless_higher_ones_are_better(best, tried):
    trials = PlantedTrials(lambda settings: settings["learning_rate"] == settings["table_learning_rate"] == best)
    found = search(trials, fixed=frozenset({"epochs", "size", "negatives"}))
    assert found.config.learning_rate == found.config.table_learning_rate == best
    assert {settings["learning_rate"] for settings in trials.tried} == tried


def test_a_setting_that_is_given_is_never_tried():
    trials = PlantedTrials(lambda settings: settings["dropout"] == 0.2)
    found = search(trials, fixed=frozenset({"epochs", "dropout"}))
    assert found.config.model.dropout == 0.4
    assert {settings["dropout"] for settings in trials.tried} == {0.4}


def test_a_longer_trial_that_leaves_no_time_for_the_final_training_is_skipped():
    # 3 epochs take 30 s, their final training 40 s with half as much again for two epochs; 6 take 60 and 70.
    trials = PlantedTrials(lambda settings: settings["epochs"])
    found = search(trials, seconds=120, fixed=OTHERS)
    assert epochs_of(trials) == [3, 1]
    assert found.config.all_epochs == 3
    assert "it and the final training take about 130 s more" in found.record[1]["skipped"]
    assert found.seconds_over() == 0


def test_without_time_for_a_trial_of_the_default_a_shorter_one_is_compared_and_the_default_trained():
    trials = PlantedTrials(lambda settings: settings["epochs"])
    found = search(trials, seconds=65, fixed=frozenset())
    assert epochs_of(trials) == [1]
    assert found.config.all_epochs == 3
    assert found.best.config.all_epochs == 1
    assert len(found.record) == 2, "no alternative is tried"


def test_without_time_for_any_trial_as_many_epochs_are_left_as_fit():
    trials = PlantedTrials(lambda settings: settings["epochs"])
    found = search(trials, seconds=30, fixed=OTHERS)
    assert (found.best, found.config.all_epochs, found.seconds_over()) == (None, 2, 0)
    found = search(trials, seconds=5, fixed=OTHERS)
    assert found.config.all_epochs == 1
    assert found.seconds_over() == pytest.approx(10, abs=0.5)
    assert search(trials, seconds=0, fixed=OTHERS).config.all_epochs == 1


def test_a_trial_whose_loss_is_not_finite_is_skipped():
    def value(settings):
        if settings["epochs"] == 6:
            raise ConfigError("the loss is nan")
        return 0.0

    found = search(PlantedTrials(value), fixed=OTHERS)
    assert found.config.all_epochs == 3
    assert found.record[1]["skipped"] == "the loss is nan"


def test_the_trial_nearest_to_a_constant_is_taken_if_none_beats_it():
    trials = PlantedTrials(lambda settings: {3: -0.2, 6: -0.1, 12: -0.3}[settings["epochs"]], noise=1.0)
    found = search(trials, fixed=OTHERS)
    assert found.config.all_epochs == 6
    exact = found._finished[0].reached.values + 0.2  # 3 epochs differ from it by the same for all users
    found.settle(Reached(exact))
    assert found.learned is False
    assert found.config.all_epochs == found.best.config.all_epochs == 3
    assert found.reasons["epochs"][-1] == "3 instead of 6 is nearer to a constant"


def test_trials_that_beat_a_constant_have_learned():
    found = search(PlantedTrials(lambda settings: 1.0), fixed=OTHERS)
    found.settle(Reached(np.zeros(100)))
    assert found.learned is True
    assert found.config == START


def test_a_trial_beside_needs_its_own_time_and_that_of_the_final_training():
    trials = PlantedTrials(lambda settings: 0.0)
    found = search(trials, fixed=OTHERS | {"epochs"})
    assert found.beside(found.config, Budget(31)).config == found.config
    with pytest.raises(SkippedError, match="it takes about 30 s, and 20 s of the time for baselines are left"):
        found.beside(found.config, Budget(20.4))
    found.budget = Budget(35)
    with pytest.raises(SkippedError, match="it and the final training take about 70 s more"):
        found.beside(found.config, Budget(31))
    with pytest.raises(SkippedError, match="no trial of this model fits the time"):
        search(trials, seconds=0).beside(START, Budget(31))
