"""Off-policy estimates in a planted world: against its truth over many seeds, and against plain formulas."""

import numpy as np
import pytest

from index_store.search.exploration import explore
from model.evaluation.off_policy import Shown, Target, estimates, ratio
from tests.index_store.search.test_exploration import answer

SEEDS, ANSWERS, CONTEXTS, ADS = 200, 600, 4, 5


def planted():
    """Click rates, and both policies: (contexts, ads) each, rows of the latter two add up to 1."""
    random = np.random.default_rng(7)
    rates = random.uniform(0.05, 0.5, (CONTEXTS, ADS))
    policies = random.dirichlet(np.full(ADS, 2.0), (2, CONTEXTS)) * 0.9 + 0.1 / ADS
    return rates, *policies


def test_intervals_hold_the_truth_in_19_of_20_worlds():
    """One ad an answer, drawn by a known policy; the target draws by another; the model is wrong by a half."""
    rates, logging, target = planted()
    truth, inside, values = float((target * rates).sum(axis=1).mean()), {}, {}
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        context = random.integers(0, CONTEXTS, ANSWERS)
        ad = (random.random((ANSWERS, 1)) > np.cumsum(logging, axis=1)[context, :-1]).sum(axis=1)
        shown = Shown(answers=np.arange(ANSWERS), propensities=logging[context, ad],
                      rewards=(random.random(ANSWERS) < rates[context, ad]).astype(float))
        predicted = 1.5 * rates
        found = estimates(shown, Target(probabilities=target[context, ad], predicted=predicted[context, ad],
                                        expected=(target * predicted).sum(axis=1)[context]))
        for name, one in found.items():
            if name != "effective_ads":
                true = 1.0 if name == "support" else truth
                inside.setdefault(name, []).append(one["low"] <= true <= one["high"])
                values.setdefault(name, []).append(one["value"])
        assert 0 < found["effective_ads"] < ANSWERS
    assert set(inside) == {"ips", "snips", "dr", "support"}
    for name, hits in inside.items():
        assert 0.90 <= np.mean(hits) <= 0.99, name
        error = np.std(values[name]) / np.sqrt(SEEDS)
        assert abs(np.mean(values[name]) - (1.0 if name == "support" else truth)) < 4 * error
    assert np.std(values["dr"]) < np.std(values["ips"])


def test_answers_that_explore_are_worth_what_they_would_be_without():
    """Answers of six places as the service draws them, whose ads are clicked by their own rates."""
    random, answers, places = np.random.default_rng(1), 1_500, 6
    rates = random.uniform(0.1, 0.6, 11)
    found, weights = answer(places, 5), random.exponential(size=5) + 0.1
    drawn = [explore(found, weights, share=0.3, caps=None, random=random) for _ in range(answers)]
    rows, explored = (np.concatenate(part) for part in zip(*((one.shown.rows, one.explored) for one in drawn),
                                                           strict=True))
    shown = Shown(answers=np.repeat(np.arange(answers), places),
                  propensities=np.concatenate([one.propensities for one in drawn]),
                  rewards=(random.random(len(rows)) < rates[rows]).astype(float))
    # What was searched for, and another answer whose ads could all have been shown.
    for own in (np.arange(6), np.array([0, 2, 4, 6, 8, 10])):
        target = estimates(shown, Target(probabilities=np.isin(rows, own).astype(float)))
        for name in ("ips", "snips"):
            assert abs(target[name]["value"] - rates[own].mean()) < 4 * target[name]["standard_error"]
        assert abs(target["support"]["value"] - 1) <= 4 * target["support"]["standard_error"]
    without = estimates(shown, Target(probabilities=(~explored).astype(float)))
    assert without["ips"] == estimates(shown, Target(probabilities=np.isin(rows, np.arange(6)).astype(float)))["ips"]


def test_estimate_of_the_policy_that_logged_is_the_mean():
    shown = Shown(answers=np.array([0, 0, 1]), propensities=np.array([0.2, 0.5, 1.0]), rewards=np.array([1.0, 0, 1]))
    found = estimates(shown, Target(probabilities=shown.propensities))
    assert found["ips"] == found["snips"]
    assert found["ips"]["value"] == pytest.approx(2 / 3)
    assert (found["support"]["value"], found["effective_ads"]) == (1.0, 3.0)


def test_standard_error_of_a_mean_is_that_of_independent_answers():
    values = np.random.default_rng(3).normal(size=400)
    found = ratio(values, np.ones(400))
    assert found.standard_error == pytest.approx(values.std(ddof=1) / 20)
    assert (found.low + found.high) / 2 == pytest.approx(values.mean())


def test_nothing_in_common_is_worth_nothing_and_has_no_normalised_estimate():
    shown = Shown(answers=np.array([0, 1]), propensities=np.array([0.2, 0.5]), rewards=np.ones(2))
    found = estimates(shown, Target(probabilities=np.zeros(2)))
    assert (found["ips"]["value"], found["support"]["high"], found["effective_ads"]) == (0.0, 0.0, 0.0)
    assert "snips" not in found
